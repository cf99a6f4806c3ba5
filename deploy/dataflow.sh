#!/bin/sh
# `prepare` on Dataflow, with the worker image: BUCKET, PROJECT and REGION come from the environment.
set -eu
: "${PROJECT:?}" "${REGION:?}" "${BUCKET:?}"

# The image has every package of the worker, so that workers install nothing when they start (--sdk_location container),
# and need no way to a package index (--no_use_public_ips).
exec streetdigits prepare \
    --source svhn \
    --input "gs://$BUCKET/svhn" \
    --output "gs://$BUCKET/svhn-records" \
    --runner DataflowRunner \
    --project "$PROJECT" \
    --region "$REGION" \
    --temp_location "gs://$BUCKET/temp" \
    --sdk_container_image "$REGION-docker.pkg.dev/$PROJECT/streetdigits/worker:1" \
    --sdk_location container \
    --no_use_public_ips \
    --machine_type n2-standard-4 \
    --max_num_workers 8 \
    "$@"
