#!/usr/bin/env bash
# Creates a CA and, issued by it, a certificate for the Service. Both are valid for a
# year; the CA's key is deleted. Before they expire, run it and apply again: the
# server reloads the certificate without a restart.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

DAYS=365
# The name that kube-apiserver verifies.
NAME=headcount.headcount-system.svc

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 077
mkdir -p generated

openssl ecparam -name prime256v1 -genkey -noout -out "$work/ca.key"
openssl req -x509 -new -key "$work/ca.key" -sha256 -days "$DAYS" -out "$work/ca.crt" \
    -subj "/CN=headcount serving CA" \
    -addext "basicConstraints=critical,CA:TRUE,pathlen:0" \
    -addext "keyUsage=critical,keyCertSign,cRLSign"

openssl ecparam -name prime256v1 -genkey -noout -out "$work/tls.key.sec1"
openssl pkcs8 -topk8 -nocrypt -in "$work/tls.key.sec1" -out generated/tls.key
openssl req -new -key generated/tls.key -subj "/CN=$NAME" -out "$work/tls.csr"
cat >"$work/extensions" <<EOF
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:$NAME, DNS:$NAME.cluster.local
EOF
openssl x509 -req -in "$work/tls.csr" -CA "$work/ca.crt" -CAkey "$work/ca.key" \
    -CAserial "$work/serial" -CAcreateserial -sha256 -days "$DAYS" \
    -extfile "$work/extensions" -out generated/tls.crt

bundle=$(base64 <"$work/ca.crt" | tr -d '\n')
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

echo "openssl/generated has a certificate for $NAME, valid until $(openssl x509 -in generated/tls.crt -noout -enddate)"
