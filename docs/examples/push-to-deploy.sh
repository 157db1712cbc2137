#!/bin/sh
# Builds an image, pushes it and deploys it:   push-to-deploy.sh FOLDER IMAGE APP.json
#
# FOLDER has a Dockerfile, IMAGE is registry/name:tag, with a tag of its own for each build, such as the commit;
# APP.json is the app, with /container/docker. KEYWAY_SCHEDULER_ADDR says where the scheduler is.
# Ends with 0 if the new version runs everywhere, 7 if it failed and the old one is back (with the last that it said).
set -eu
if [ $# != 3 ]; then
  echo "usage: $0 FOLDER IMAGE APP.json" >&2
  exit 2
fi

docker build --tag "$2" "$1"
docker push "$2"
# Whatever the tag comes to name later, what was pushed here is what is deployed.
digest=$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$2" | grep -m 1 "^${2%:*}@")
keyway deploy apply -f "$3" --image "$2@${digest#*@}" --wait-timeout 10m
