#!/usr/bin/env bash
# Reads, from the cluster of the current kubeconfig, the CA and the names of the client
# certificate that kube-apiserver presents to aggregated API servers, and writes them
# to generated/ for kustomization.yaml. Run it again after that CA was replaced.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# Prints a key of the ConfigMap in which kube-apiserver publishes them.
published() {
    kubectl --namespace kube-system get configmap extension-apiserver-authentication \
        --output "go-template={{index .data \"$1\"}}"
}

mkdir -p generated
published requestheader-client-ca-file >generated/ca.crt.new
grep -q 'BEGIN CERTIFICATE' generated/ca.crt.new || {
    echo "this cluster has no front proxy CA: its kube-apiserver needs --requestheader-client-ca-file" >&2
    exit 1
}
mv generated/ca.crt.new generated/ca.crt

# The JSON list ["a","b"] becomes a,b. An empty list allows any name; the setting is
# then absent.
names=$(published requestheader-allowed-names | tr -d '[]" \n')
echo "${names:+allowed-names=$names}" >generated/names.env

echo "front-proxy/generated has the CA; allowed names of the certificate: ${names:-any}"
echo "if headcount is running: apply again, then kubectl rollout restart -n headcount-system deployment headcount"
