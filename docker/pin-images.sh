#!/bin/sh
# Pins the base images: writes the digests that their registry has now into the Dockerfile and docker-compose.yml.
# With --check it only says whether all of them are pinned.
set -eu
cd "$(dirname "$0")/.."
files='Dockerfile docker-compose.yml'

# name:tag, with or without a digest, as it stands in the defaults of PYTHON_IMAGE and MONGO_IMAGE
images() { grep -hoE '(PYTHON_IMAGE=|_IMAGE:-)[a-z0-9./-]+:[A-Za-z0-9._-]+(@sha256:[0-9a-f]{64})?' $files | sed -E 's/.*(=|:-)//' | sort -u; }

if [ "${1:-}" = --check ]; then
    unpinned=$(images | grep -v @sha256: || true)
    [ -z "$unpinned" ] && exit 0
    echo "these base images are not pinned to a digest: $(echo $unpinned); run make pin-images" >&2
    exit 1
fi

for image in $(images); do
    tag=${image%@*}
    # A pull of a tag records the digest of the registry's own manifest, that of all platforms.
    if ! docker pull --quiet "$tag" >/dev/null; then
        echo "$tag cannot be pulled, so that its digest is unknown; nothing is pinned" >&2
        exit 1
    fi
    digest=$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$tag" | sed -nE 's/.*@(sha256:[0-9a-f]{64})$/\1/p' | head -1)
    if [ -z "$digest" ]; then
        echo "$tag has no digest of a registry; nothing is pinned" >&2
        exit 1
    fi
    pinned="${pinned:-}s#$tag(@sha256:[0-9a-f]{64})?#$tag@$digest#g;"
    echo "$tag@$digest"
done
for file in $files; do
    sed -E -i.unpinned "$pinned" "$file" && rm "$file.unpinned"
done
