# shellcheck shell=bash disable=SC2034
# Sourced by tests/run.sh and apps/quickstart.sh.

# What a build needs, by the names of Debian and Ubuntu.
build_packages=(g++ cmake ninja-build git libdnnl-dev libcli11-dev nlohmann-json3-dev libtomlplusplus-dev zlib1g-dev libstb-dev libjpeg-dev libpng-dev)

# install_packages NAME...: installs those that are missing, with sudo if needed. Returns 1, after saying so, where it cannot:
# what is there may still do.
install_packages() {
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "This is not a Debian system. Needed, by Debian's names: $*"
    return 1
  fi
  local package missing=() as_root=()
  for package in "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  if [ ${#missing[@]} -eq 0 ]; then return 0; fi
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "Missing, and neither root nor sudo is there to install them: ${missing[*]}"
      return 1
    fi
    as_root=(sudo)
  fi
  echo "Installing: ${missing[*]}"
  "${as_root[@]}" apt-get update -qq || echo "apt-get update failed; trying with the package lists that are there"
  if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; then
    echo "Could not be installed: ${missing[*]}"
    return 1
  fi
}
