#!/usr/bin/env python3
"""queries.py COMMAND FILE...: of alerts and a dashboard.

rules FILE            the groups in a PrometheusRule, as Prometheus reads them
summaries FILE        the same, with no other annotation than the summary
tested RULES TESTS    every alert has a test in which it fires and one in which it does not
dashboard FILE        the dashboard's queries, as rules: promtool reads these
known METRICS FILE... every metric in these rules is one that the daemon has, or has with a cluster, by docs/metrics.md
"""
import json
import re
import sys

import yaml


def load(path):
    with open(path) as f:
        return yaml.safe_load(f)


def rules(path):
    print(yaml.safe_dump(load(path)["spec"]))


def summaries(path):
    spec = load(path)["spec"]
    for group in spec["groups"]:
        for rule in group["rules"]:
            rule["annotations"] = {"summary": rule["annotations"]["summary"]}
    print(yaml.safe_dump(spec))


def tested(rules_path, tests_path):
    alerts = {r["alert"]: r for g in load(rules_path)["groups"] for r in g["rules"]}
    fires, silent = set(), set()
    for test in load(tests_path)["tests"]:
        for t in test["alert_rule_test"]:
            (fires if t.get("exp_alerts") else silent).add(t["alertname"])
    bad = [f"{a} has no test in which it {w}" for w, seen in (("fires", fires), ("does not fire", silent)) for a in alerts if a not in seen]
    bad += [f"{a}: {r['annotations'].get('runbook_url')}" for a, r in alerts.items() if not r["annotations"].get("runbook_url", "").endswith("#" + a.lower())]
    print("\n".join(bad))
    return not bad


def dashboard(path):
    with open(path) as f:
        board = json.load(f)
    queries = [(p["title"], t["expr"]) for p in board["panels"] for t in p["targets"]]
    queries += [(a["name"], a["expr"]) for a in board["annotations"]["list"]]
    places = {(p["gridPos"]["x"] + dx, p["gridPos"]["y"] + dy) for p in board["panels"] for dx in range(p["gridPos"]["w"]) for dy in range(p["gridPos"]["h"])}
    area = sum(p["gridPos"]["w"] * p["gridPos"]["h"] for p in board["panels"])
    if len(places) != area or len({p["id"] for p in board["panels"]}) != len(board["panels"]):
        sys.exit(f"{path}: panels lie upon each other")
    for name, value in (("$__rate_interval", "5m"), ("$__range", "1d"), ("$instance", ".*")):
        queries = [(t, q.replace(name, value)) for t, q in queries]
    print(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": [{"record": f"panel:q{i}", "expr": q} for i, (_, q) in enumerate(queries)]}]}))


def known(metrics, *paths):
    with open(metrics) as f:
        have = set(re.findall(r"^# TYPE (\S+)", f.read(), re.M)) | {"up"}
    asked = set()
    for path in paths:
        for group in load(path)["groups"]:
            for rule in group["rules"]:
                asked |= set(re.findall(r"\b(?:entrepot|process)_[a-z_]+\b", rule["expr"]))
    asked = {re.sub(r"_(bucket|sum|count)$", "", a) for a in asked}
    with open("docs/metrics.md", encoding="utf-8") as f:
        have |= {m for m in re.findall(r"^\| `([a-z_]+)`", f.read(), re.M) if re.match("entrepot_(peer|shared)", m)}
    unknown = asked - have
    print("\n".join(f"no metric is called {a}" for a in sorted(unknown)))
    return not unknown


COMMANDS = {"rules": rules, "summaries": summaries, "tested": tested, "dashboard": dashboard, "known": known}

if __name__ == "__main__":
    sys.exit(1 if COMMANDS[sys.argv[1]](*sys.argv[2:]) is False else 0)
