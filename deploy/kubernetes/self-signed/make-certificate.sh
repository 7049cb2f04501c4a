#!/usr/bin/env bash
# Creates a self-signed certificate for the Service, valid for a year, with the headcount
# command in PATH. Before it ends, run this again and apply: the server reloads the
# certificate without a restart. The previous certificate stays trusted until the next run,
# because not all clients get the new one at the same moment: so apply after each run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# The name that kube-apiserver, agents and Prometheus verify.
NAME=headcount.headcount-system.svc

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 077
mkdir -p generated

headcount generate tls-certificate --hostname "$NAME" --hostname "$NAME.cluster.local" \
    --valid-for 8760h --cert-file "$work/tls.crt" --key-file "$work/tls.key"
previous=/dev/null
[ ! -e generated/tls.crt ] || previous=generated/tls.crt
cat "$work/tls.crt" "$previous" >"$work/ca.crt"
mv "$work"/{tls.crt,tls.key,ca.crt} generated/

bundle=$(base64 <generated/ca.crt | tr -d '\n')
cat >generated/ca-bundle-apiservice.yaml <<EOF
- op: add
  path: /spec/caBundle
  value: $bundle
EOF
cat >generated/ca-bundle-webhook.yaml <<EOF
- op: add
  path: /webhooks/0/clientConfig/caBundle
  value: $bundle
EOF

echo "self-signed/generated has a certificate for $NAME, valid for a year"
