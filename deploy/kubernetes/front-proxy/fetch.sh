#!/usr/bin/env bash
# Asks the cluster of the current kubeconfig by what its kube-apiserver shows
# itself to aggregated servers, for kustomization.yaml beside this. Again after
# that authority was replaced.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# The part of the ConfigMap that kube-apiserver publishes for this purpose.
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

# A list in JSON, ["a","b"], is a,b here. If it is empty any name will do, and none
# is set.
names=$(published requestheader-allowed-names | tr -d '[]" \n')
echo "${names:+allowed-names=$names}" >generated/names.env

echo "front-proxy/generated has the CA; names of its certificate: ${names:-any}"
echo "if headcount runs already: apply, then kubectl rollout restart -n headcount-system deployment headcount"
