#!/bin/sh
# Installs what a fresh Debian lacks besides Rust, or says exactly what to install.
# With the argument `tests` or `bench` it also gets what those want, a Python environment included.
set -eu

usable() { command -v "$1" >/dev/null 2>&1; }
# Of several paths, shell patterns included, is there one that exists?
any() { for path in "$@"; do [ -e "$path" ] && return; done; return 1; }

missing=
need() { missing="$missing $*"; }

# PostgreSQL's server programs are not on PATH on Debian.
usable initdb || any /usr/lib/postgresql/*/bin/initdb /usr/local/pgsql/bin/initdb \
    /opt/homebrew/opt/postgresql*/bin/initdb || need postgresql postgresql-contrib
usable psql || need postgresql-client
# The SQL parser is C, and bindgen reads its headers with libclang and libclang's own headers.
usable cc || need gcc libc6-dev
any /usr/lib/llvm-*/lib/libclang.so* /usr/lib/llvm-*/lib/libclang-[0-9]*.so* \
    /usr/lib/*/libclang.so* /usr/lib/*/libclang-[0-9]*.so* /usr/lib*/libclang.so* \
    /opt/homebrew/opt/llvm/lib/libclang.dylib /Library/Developer/CommandLineTools \
    && any /usr/lib/llvm-*/lib/clang/*/include/stddef.h /usr/lib*/clang/*/include/stddef.h \
        /opt/homebrew/opt/llvm/lib/clang /Library/Developer/CommandLineTools \
    || need libclang-dev
[ -z "${1-}" ] || python3 -c 'import ensurepip, venv' 2>/dev/null || need python3-venv
if [ "${1-}" = bench ]; then
    usable pgbench || any /usr/lib/postgresql/*/bin/pgbench /usr/local/pgsql/bin/pgbench \
        /opt/homebrew/opt/postgresql*/bin/pgbench || need postgresql-contrib
    usable pgbouncer || any /usr/sbin/pgbouncer || need pgbouncer
fi

# Debian starts a cluster of its own with a new server package, and a pooler with pgbouncer's.
# Nobody asked for them.
no_cluster=/etc/postgresql-common/createcluster.d/veneer-setup.conf
no_service=/usr/sbin/policy-rc.d
install='set -e
    export DEBIAN_FRONTEND=noninteractive
    ours='$no_cluster'
    trap "rm -f \$ours" EXIT
    mkdir -p '${no_cluster%/*}'
    echo "create_main_cluster = false" > '$no_cluster'
    if ! [ -e '$no_service' ]; then
        ours="$ours '$no_service'"
        printf "#!/bin/sh\\nexit 101\\n" > '$no_service'
        chmod 755 '$no_service'
    fi
    apt-get update -q
    apt-get install -q -y --no-install-recommends "$@"'

if [ -n "$missing" ]; then
    echo "Missing:$missing" >&2
    # shellcheck disable=SC2086 # each word is a package
    if usable apt-get && [ "$(id -u)" = 0 ]; then
        sh -c "$install" setup $missing >&2
    elif usable apt-get && usable sudo && sudo -n true 2>/dev/null; then
        sudo -n sh -c "$install" setup $missing >&2
    else
        echo "Install them, for instance: sudo apt-get install$missing" >&2
        exit 1
    fi
fi

usable cargo || { echo "Missing: Rust. See https://rustup.rs" >&2; exit 1; }

# Made anew when the list of packages changes.
case ${1-} in
    tests) venv=${CARGO_TARGET_DIR:-target}/venv wanted=tests/requirements.txt ;;
    bench) venv=${CARGO_TARGET_DIR:-target}/bench/venv wanted=benches/requirements.txt ;;
    *) exit 0 ;;
esac
cmp -s "$wanted" "$venv/installed.txt" && exit 0
echo "Making $venv" >&2
rm -rf "$venv"
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted"
cp "$wanted" "$venv/installed.txt"
