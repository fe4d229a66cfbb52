#!/usr/bin/env bash
# Builds the images of all functions, or of those named (`runner`: all of them in one, for one machine), with docker, podman or buildah, whichever is there first.
# With PUSH=1 also pushes them, and writes their digests where the production overlay takes them from.
# Settings: REGISTRY (errands), VERSION (pyproject's), BASE (the Dockerfile's), BUILDER, BUILD_FLAGS, PUSH_FLAGS.
set -euo pipefail
cd "$(dirname "$0")/.."

builder=${BUILDER:-$(command -v docker podman buildah | head -1)}
[ -n "$builder" ] || { echo "docker, podman or buildah is needed to build images" >&2; exit 1; }
registry=${REGISTRY:-errands}
version=${VERSION:-$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)}
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
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
	# shellcheck disable=SC2086  # the flags are words
	"$builder" build ${BUILD_FLAGS:-} ${BASE:+--build-arg BASE="$BASE"} --build-arg FUNCTION="$1" \
		--build-arg VERSION="$version" --build-arg REVISION="$revision" \
		--tag "$registry/$1:$version" --file functions/Dockerfile .
}

push() { # FUNCTION; prints the digest
	case $builder in
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
trap 'rm -f "$scratch" "$scratch.new"' EXIT
for each in "${functions[@]}"; do build "$each"; done
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
