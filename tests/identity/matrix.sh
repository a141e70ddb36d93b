#!/bin/bash
# Every way to be somebody, in every situation: matrix.sh IDENTITY SITUATION; --list says which there are. The registry is real and
# wants a token of a real token service; Amazon, Google and Azure are played as strictly as they are documented (clouds.py).
IDENTITIES="anonymous static docker_config identity_token helper kubelet ecr ecr-file ecr-irsa ecr-imds ecr-container ecr-public gcp-metadata
gcp-key azure-identity azure-workload azure-principal"
SITUATIONS="first expired rotated down"
if [ "${1:-}" = --list ]; then
    for i in $IDENTITIES; do for s in $SITUATIONS; do echo "$i $s"; done; done
    exit
fi
. "$(dirname "$0")/../lib.sh"
. tests/identity/auth.sh.inc
need_root
identity=${1:?} situation=${2:?}
part=token host=docker.io access=
case $identity in
ecr-public) host=public.ecr.aws part=ecr ;;
ecr*) host=123456789012.dkr.ecr.eu-west-1.amazonaws.com part=ecr ;;
gcp*) host=europe-docker.pkg.dev part=gcp ;;
azure*) host=example.azurecr.io part=azure ;;
kubelet | helper) part=$identity ;;
esac

clouds_start "$host"
clouds=http://127.0.0.1:$CLOUD_PORT
pusher=$(canary pusher)
set_state '.accounts.pusher = $p' --arg p "$pusher"
token_registry_start
image_build app
for tag in 1 2; do push_as "pusher:$pusher" app "team/app:$tag"; done
upstream() { curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$REGISTRY_PORT/v2/team/app/manifests/1"; }
is "$(upstream)" 401 "the registry without a token"

# ---- who we are ----
secret=$(canary "$identity")
store_secret() { # SECRET: wherever this identity keeps it, and at the other side
    case $identity in
    static) printf '%s\n' "$1" >"$W/password" ;;
    docker_config) echo "{\"auths\": {\"https://index.docker.io/v1/\": {\"auth\": \"$(printf 'user:%s' "$1" | base64 -w0)\"}}}" >"$W/docker.json" ;;
    identity_token) echo "{\"auths\": {\"https://index.docker.io/v1/\": {\"auth\": \"$(printf '<token>:' | base64 -w0)\", \"identitytoken\": \"$1\"}}}" >"$W/docker.json" ;;
    esac
    echo "$1" >"$W/secret"
    session=$(canary session)
    printf '[default]\naws_access_key_id = wrong\naws_secret_access_key = wrong\n\n[pull]\naws_access_key_id=AKIDEXAMPLE0\naws_secret_access_key = %s\naws_session_token = %s\n[other]\naws_access_key_id = wrong\n' \
        "$1" "$session" >"$W/aws.ini"
    set_state '.accounts.user = $s | .identity_tokens = [$s] | .client_secret = $s | .federated = $s | .web_identity = $s |
        .container_token = $s | .aws = {id: "AKIDEXAMPLE0", secret: $s, session: $t}' --arg s "$1" --arg t "$session"
}
store_secret "$secret"
mkdir -p "$W/bin"
cat >"$W/bin/docker-credential-canary" <<-SH
	#!/bin/sh
	[ "\$1" = get ] && read -r server
	echo "\$server" >>$W/helper.asked
	[ -f $W/helper.down ] && { echo "no luck, but $secret" >&2; exit 1; }
	printf '{"ServerURL": "%s", "Username": "user", "Secret": "%s"}' "\$server" "\$(cat $W/secret)"
	SH
cat >"$W/bin/kubelet-provider" <<-SH
	#!/bin/sh
	request=\$(cat)
	[ -f $W/helper.down ] && exit 3
	[ "\$1 \$2" = "--config /dev/null" ] || exit 4
	echo "\$request" | jq -e '.kind == "CredentialProviderRequest" and .apiVersion == "credentialprovider.kubelet.k8s.io/v1" and .image == "docker.io/team/app"' >/dev/null || exit 5
	jq -n --arg p "\$(cat $W/secret)" '{kind: "CredentialProviderResponse", apiVersion: "credentialprovider.kubelet.k8s.io/v1",
	    cacheKeyType: "Registry", cacheDuration: "6h0m0s",
	    auth: {"*.io": {username: "user", password: \$p}, "quay.io": {username: "wrong", password: "wrong"}}}'
	SH
chmod +x "$W"/bin/*
export PATH="$W/bin:$PATH"
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_ROLE_ARN AWS_WEB_IDENTITY_TOKEN_FILE AZURE_CLIENT_ID AZURE_TENANT_ID
export HOME="$W"
aws_env() {
    AWS_ACCESS_KEY_ID=$(jq -r .aws.id "$W/state.json")
    AWS_SECRET_ACCESS_KEY=$(jq -r .aws.secret "$W/state.json")
    AWS_SESSION_TOKEN=$(jq -r .aws.session "$W/state.json")
    export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
}
case $identity in
anonymous) set_state '.anonymous = true' ;;
static) access="{username: user, password_file: $W/password}" ;;
docker_config | identity_token) access="{docker_config: $W/docker.json}" ;;
helper) access="{helper: canary}" ;;
kubelet) access="{provider: kubelet, command: $W/bin/kubelet-provider, args: [--config, /dev/null]}" ;;
ecr | ecr-public) access="{provider: ecr, api_endpoint: $clouds/ecr}" && aws_env ;;
ecr-file)
    access="{provider: ecr, profile: pull, api_endpoint: $clouds/ecr}"
    export AWS_SHARED_CREDENTIALS_FILE=$W/aws.ini
    ;;
ecr-irsa)
    access="{provider: ecr, api_endpoint: $clouds/ecr, token_endpoint: $clouds/sts}"
    export AWS_ROLE_ARN=arn:aws:iam::123456789012:role/pull AWS_WEB_IDENTITY_TOKEN_FILE=$W/secret
    ;;
ecr-imds) access="{provider: ecr, api_endpoint: $clouds/ecr, metadata_endpoint: $clouds}" ;;
ecr-container)
    access="{provider: ecr, api_endpoint: $clouds/ecr}"
    export AWS_CONTAINER_CREDENTIALS_FULL_URI=$clouds/container/creds AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=$W/secret
    ;;
gcp-metadata) access="{provider: gcp, metadata_endpoint: $clouds}" ;;
gcp-key)
    google_key() {
        openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$W/google.pem" 2>/dev/null
        openssl pkey -in "$W/google.pem" -pubout -out "$W/google.pub"
        sed -n 2p "$W/google.pem" >>"$W/secrets"
        jq -n --rawfile k "$W/google.pem" '{type: "service_account", private_key_id: "key-1", private_key: $k,
            client_email: "puller@project.iam.gserviceaccount.com", token_uri: "https://oauth2.googleapis.com/token"}' >"$W/google.json"
    }
    google_key
    access="{provider: gcp, key_file: $W/google.json, token_endpoint: $clouds/gcp-token}"
    ;;
azure-identity) access="{provider: azure, metadata_endpoint: $clouds, api_endpoint: $clouds}" ;;
azure-workload)
    access="{provider: azure, token_endpoint: $clouds/entra, api_endpoint: $clouds}"
    export AZURE_FEDERATED_TOKEN_FILE=$W/secret AZURE_CLIENT_ID=client-1 AZURE_TENANT_ID=tenant-1
    ;;
azure-principal) access="{provider: azure, tenant: tenant-1, client_id: client-1, client_secret_file: $W/secret, token_endpoint: $clouds/entra, api_endpoint: $clouds}" ;;
esac

[ -n "$PORT" ] || PORT=$(free_port)
entrepot_with() { # TTL
    cat >"$W/config.yaml" <<-YAML
	listen: [{address: "127.0.0.1:$PORT"}]
	admin: {socket: $W/admin.sock}
	cache: {path: $W/cache, min_free: 0B}
	log: {level: debug}
	tags: {ttl: $1, negative_ttl: 0s}
	upstreams:
	  - name: $host
	    endpoints: ["http://127.0.0.1:$REGISTRY_PORT"]
	    insecure: true
	    ${access:+credentials: $access}
	YAML
    entrepot_run || fail "entrepot does not start"
}
mkdir "$W/answers"
: >"$W/requests.log"
tokens() { asked_of_clouds " /token $1"; }
get() { # PATH: the status in $code, the answer in $W/answers/body
    code=$(curl -s -D "$W/answers/head" -o "$W/answers/body" -w '%{http_code}' "http://127.0.0.1:$PORT/v2/$host/team/app/$1")
}
manifest=$(skopeo inspect --creds "pusher:$pusher" --tls-verify=false --raw "docker://127.0.0.1:$REGISTRY_PORT/team/app:1")
layer() { echo "$manifest" | jq -r ".layers[$1].digest"; }
answers() { # CODE WHAT: the last answer has this status
    [ "$code" = "$1" ] || fail "$2: $code $(head -c 300 "$W/answers/body" | tr -d '\0')"
}
right() { is "sha256:$(sha256sum <"$W/answers/body" | sed 's/ .*//')" "$1" "bytes"; }
rotate() {
    store_secret "$(canary new)"
    set_state '.generation += 1'
    [ "$identity" = gcp-key ] && google_key
    true
}

case $situation in
first)
    entrepot_with 1h
    get manifests/1
    answers 200 "the first pull"
    is "$(cat "$W/answers/body")" "$manifest" "manifest"
    get "blobs/$(layer 0)"
    answers 200 "a layer"
    right "$(layer 0)"
    # Many at once are one request for the identity, and one for the token.
    : >"$W/requests.log"
    seq 20 | xargs -P 20 -I{} curl -s -o "$W/answers/{}" "http://127.0.0.1:$PORT/v2/$host/team/app/blobs/$(layer 1)"
    for n in $(seq 20); do is "sha256:$(sha256sum <"$W/answers/$n" | sed 's/ .*//')" "$(layer 1)" "client $n"; done
    [ "$(grep -c . "$W/requests.log")" -le 1 ] || fail "asked for again: $(cat "$W/requests.log")"
    ;;
expired) # the registry finds tokens out of date that the token service said were good for long
    set_state '.skew = 4'
    entrepot_with 1h
    get manifests/1
    answers 200 "manifest"
    sleep 5
    get "blobs/$(layer 0)"
    answers 200 "a layer, after the token has ended"
    [ "$(tokens 200)" -ge 2 ] || fail "no second token: $(cat "$W/requests.log")"
    right "$(layer 0)"
    ;;
rotated) # the secret is changed on both sides in the middle of a pull
    set_state '.skew = 4'
    entrepot_with 1h
    get manifests/1
    answers 200 "manifest"
    rotate
    case $identity in
    ecr | ecr-public) # who hands a key over in the environment restarts the daemon for another
        entrepot_stop
        aws_env
        entrepot_with 1h
        ;;
    esac
    sleep 5
    get "blobs/$(layer 0)"
    answers 200 "a layer, after the secret was changed"
    [ "$identity" = anonymous ] || [ "$(tokens 401)" -ge 1 ] || [[ $identity = ecr || $identity = ecr-public ]] ||
        fail "the old secret was not refused: $(cat "$W/requests.log")"
    right "$(layer 0)"
    ;;
down)
    entrepot_with 0s
    get manifests/1
    answers 200 "manifest"
    entrepot_stop
    set_state '.down = [$p]' --arg p "$part"
    touch "$W/helper.down"
    entrepot_with 0s
    get manifests/1
    answers 200 "a cached tag, past fresh"
    grep -qi '^cache-status: entrepot; hit; ttl=-' "$W/answers/head" || fail "$(cat "$W/answers/head")"
    get manifests/2
    case $code in 502 | 503) ;; *) answers 503 "an uncached tag" ;; esac
    jq -e '.errors[0].code == "UNAVAILABLE"' "$W/answers/body" >/dev/null || fail "$(cat "$W/answers/body")"
    say "$(jq -r '.errors[0].message' "$W/answers/body")"
    [ "$(grep -cE ' (warn|error) ' "$W/entrepot.log")" -lt 10 ] || fail "the log is full of it"
    ;;
esac
no_leaks
entrepot_stop
