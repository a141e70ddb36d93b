#!/bin/bash
# Archives go both ways between entrepot and the engines of this machine.
# Takes minutes.
ENTREPOT_SID=/ exec bash "$(dirname "$0")/../engines/archives.sh"
