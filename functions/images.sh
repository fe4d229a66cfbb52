#!/usr/bin/env bash
# Builds the images of all functions, or of those named (`runner`: all of them in one, for one machine), with docker, podman
# or buildah, whichever is there first. With PUSH=1 also pushes them, and writes their digests where the production overlay
# takes them from. What each holds is written to SBOM/FUNCTION.cdx.json, a bill of materials (CycloneDX).
# Settings: REGISTRY (errands), VERSION (pyproject's), BASE (the Dockerfile's), BUILDER, BUILD_FLAGS, PUSH_FLAGS, SBOM
# (build/sbom), PLATFORMS (this machine's; `linux/amd64,linux/arm64` needs a builder that can run both, such as one with
# qemu's binfmt, and with docker its buildx, which pushes as it builds).
set -euo pipefail
cd "$(dirname "$0")/.."

builder=${BUILDER:-$(command -v docker podman buildah | head -1)}
[ -n "$builder" ] || { echo "docker, podman or buildah is needed to build images" >&2; exit 1; }
registry=${REGISTRY:-errands}
version=${VERSION:-$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)}
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
platforms=${PLATFORMS:-}
bills=${SBOM:-build/sbom}
digests=knative/overlays/production/images/kustomization.yaml

functions=("$@")
[ $# -gt 0 ] || mapfile -t functions < <(cd functions && ls ./*/main.py | cut -d/ -f2)

build() { # FUNCTION
	if [ "$1" = runner ]; then
		# shellcheck disable=SC2086  # a health check is a matter of Docker's format
		"$builder" build ${BUILD_FLAGS:-} $(case $builder in *docker) ;; *) echo --format docker ;; esac) \
			${BASE:+--build-arg BASE="$BASE"} --build-arg VERSION="$version" --build-arg REVISION="$revision" \
			--tag "$registry/$1:$version" --file knative/local/Dockerfile .
		return
	fi
	[ -f "functions/$1/main.py" ] || { echo "there is no function $1" >&2; exit 1; }
	# an index of several images in place of one: of podman and buildah a manifest, of docker what its buildx pushes
	local target=(build --tag "$registry/$1:$version")
	if [ -n "$platforms" ]; then
		case $builder in
		*docker) target=(buildx build --platform "$platforms" --tag "$registry/$1:$version" \
			--metadata-file "$scratch.$1" ${PUSH:+--push}) ;;
		*)
			"$builder" manifest rm "$registry/$1:$version" >/dev/null 2>&1 || true
			target=(build --platform "$platforms" --manifest "$registry/$1:$version")
			;;
		esac
	fi
	# shellcheck disable=SC2086  # the flags are words
	"$builder" "${target[@]}" ${BUILD_FLAGS:-} ${BASE:+--build-arg BASE="$BASE"} --build-arg FUNCTION="$1" \
		--build-arg VERSION="$version" --build-arg REVISION="$revision" --file functions/Dockerfile .
}

bill() { # FUNCTION; not of an index, whose images this machine may not run
	[ -z "$platforms" ] || return 0
	case $builder in
	*buildah) return 0 ;;
	esac
	mkdir -p "$bills"
	local container
	container=$("$builder" create "$registry/$1:$version")
	"$builder" cp "$container:/app/sbom.cdx.json" "$bills/$1.cdx.json"
	"$builder" rm "$container" >/dev/null
}

push() { # FUNCTION; prints the digest
	case ${platforms:+several-}$builder in
	several-*docker) sed -n 's/.*"containerimage.digest": *"\([^"]*\)".*/\1/p' "$scratch.$1" ;;
	several-*)
		"$builder" manifest push --all ${PUSH_FLAGS:-} --digestfile "$scratch" "$registry/$1:$version" >&2
		cat "$scratch"
		;;
	*docker)
		"$builder" push --quiet "$registry/$1:$version" >&2
		"$builder" inspect --format '{{index .RepoDigests 0}}' "$registry/$1:$version" | cut -d@ -f2
		;;
	*)
		"$builder" push ${PUSH_FLAGS:-} --quiet --digestfile "$scratch" "$registry/$1:$version" >&2
		cat "$scratch"
		;;
	esac
}

scratch=$(mktemp)
trap 'rm -f "$scratch" "$scratch".*' EXIT
for each in "${functions[@]}"; do
	build "$each"
	bill "$each"
done
[ -n "${PUSH:-}" ] || exit 0
[ $# -eq 0 ] || { echo "PUSH=1 pushes all functions: the overlay names all digests" >&2; exit 1; }
{
	printf '# Written by `make images PUSH=1 REGISTRY=...`.\n'
	printf 'apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nimages:\n'
	for each in "${functions[@]}"; do
		printf '  - name: errands/%s\n    newName: %s/%s\n    digest: %s\n' "$each" "$registry" "$each" "$(push "$each")"
	done
} >"$scratch.new"
cp "$scratch.new" "$digests"
echo "the digests are in $digests"
