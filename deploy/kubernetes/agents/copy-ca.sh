#!/usr/bin/env bash
# Copies the CA of headcount's certificate to namespaces with agents, as the ConfigMap
# headcount-ca. Run it again for new namespaces and when the CA has changed: agents read it
# for each connection.
#
# usage: copy-ca.sh NAMESPACE...
set -euo pipefail
[ $# -gt 0 ] || { echo "usage: copy-ca.sh NAMESPACE..." >&2; exit 64; }

# Everybody who may read the APIService may read it. cert-manager or self-signed wrote it there.
ca=$(kubectl get apiservice v1alpha1.kuma.io --output 'go-template={{with .spec.caBundle}}{{. | base64decode}}{{end}}')
[[ $ca == *'BEGIN CERTIFICATE'* ]] || {
    echo "the APIService has no caBundle yet: apply self-signed or cert-manager first" >&2
    exit 1
}
for namespace in "$@"; do
    kubectl create configmap headcount-ca --namespace "$namespace" --from-literal=ca.crt="$ca" \
        --dry-run=client --output yaml |
        kubectl apply --namespace "$namespace" --filename -
done
