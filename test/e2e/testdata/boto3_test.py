"""Ecru by boto3: python3 boto3_test.py ENDPOINT. Exits with 0 if all holds."""

import base64
import hashlib
import json
import sys
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

endpoint = sys.argv[1]
ecr = boto3.client("ecr", endpoint_url=endpoint, config=Config(retries={"total_max_attempts": 1}))


def check(what, got, want):
    if got != want:
        sys.exit(f"{what}: got {got!r}, want {want!r}")
    print("ok", what)


def fails(code, call, text="", **arguments):
    try:
        call(**arguments)
    except ClientError as e:
        check(f"{call.__name__} fails", e.response["Error"]["Code"], code)
        if text not in e.response["Error"]["Message"]:
            sys.exit(f"{call.__name__}: {text!r} is not in {e.response['Error']['Message']!r}")
        return e
    sys.exit(f"{call.__name__}: succeeded, want {code}")


def digest(b):
    return "sha256:" + hashlib.sha256(b).hexdigest()


def upload(repo, b):
    up = ecr.initiate_layer_upload(repositoryName=repo)
    part = ecr.upload_layer_part(repositoryName=repo, uploadId=up["uploadId"], partFirstByte=0,
                                 partLastByte=len(b) - 1, layerPartBlob=b)
    check("lastByteReceived", part["lastByteReceived"], len(b) - 1)
    done = ecr.complete_layer_upload(repositoryName=repo, uploadId=up["uploadId"], layerDigests=[digest(b)])
    check("layerDigest", done["layerDigest"], digest(b))


def manifest(config, *layers):
    def describe(kind, b):
        return {"mediaType": kind, "digest": digest(b), "size": len(b)}
    return json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": describe("application/vnd.oci.image.config.v1+json", config),
        "layers": [describe("application/vnd.oci.image.layer.v1.tar+gzip", b) for b in layers]})


repo = ecr.create_repository(repositoryName="boto/app", tags=[{"Key": "a", "Value": "b"}])["repository"]
check("repositoryName", repo["repositoryName"], "boto/app")
check("createdAt is a time", repo["createdAt"].year >= 2024, True)
fails("RepositoryAlreadyExistsException", ecr.create_repository, repositoryName="boto/app")
fails("InvalidParameterException", ecr.create_repository, "must satisfy regular expression", repositoryName="BAD")
fails("RepositoryNotFoundException", ecr.list_images,
      "The repository with name 'none' does not exist in the registry with id '123456789012'", repositoryName="none")

# A layer of more than one part: parts but the last have at least 5 MiB.
big = bytes(range(256)) * (6 << 12)
up = ecr.initiate_layer_upload(repositoryName="boto/app")
half = 5 << 20
fails("InvalidLayerPartException", ecr.upload_layer_part, repositoryName="boto/app", uploadId=up["uploadId"],
      partFirstByte=half, partLastByte=len(big) - 1, layerPartBlob=big[half:])
for first, last in ((0, half - 1), (half, len(big) - 1)):
    ecr.upload_layer_part(repositoryName="boto/app", uploadId=up["uploadId"], partFirstByte=first,
                          partLastByte=last, layerPartBlob=big[first:last + 1])
ecr.complete_layer_upload(repositoryName="boto/app", uploadId=up["uploadId"], layerDigests=[digest(big)])
url = ecr.get_download_url_for_layer(repositoryName="boto/app", layerDigest=digest(big))["downloadUrl"]
check("bytes of the download link", digest(urllib.request.urlopen(url).read()), digest(big))
fails("LayerAlreadyExistsException", ecr.complete_layer_upload, repositoryName="boto/app", layerDigests=[digest(big)],
      uploadId=(lambda u: ecr.upload_layer_part(repositoryName="boto/app", uploadId=u, partFirstByte=0,
                partLastByte=half - 1, layerPartBlob=big[:half]) and ecr.upload_layer_part(
                    repositoryName="boto/app", uploadId=u, partFirstByte=half, partLastByte=len(big) - 1,
                    layerPartBlob=big[half:]) and u)(ecr.initiate_layer_upload(repositoryName="boto/app")["uploadId"]))

config = b'{"architecture":"amd64","os":"linux"}'
upload("boto/app", config)
tags = [f"t{i:03}" for i in range(25)]
m = manifest(config, big)
for tag in tags:
    put = ecr.put_image(repositoryName="boto/app", imageManifest=m, imageTag=tag)
    check("imageDigest", put["image"]["imageId"]["imageDigest"], digest(m.encode()))
fails("ImageAlreadyExistsException", ecr.put_image, repositoryName="boto/app", imageManifest=m, imageTag="t000")
fails("ImageDigestDoesNotMatchException", ecr.put_image, repositoryName="boto/app", imageManifest=m, imageTag="x",
      imageDigest=digest(b"other"))
fails("LayersNotFoundException", ecr.put_image, repositoryName="boto/app", imageManifest=manifest(b"absent"), imageTag="x")
fails("InvalidParameterException", ecr.put_image, "Invalid JSON syntax", repositoryName="boto/app", imageManifest="{", imageTag="x")

pages = list(ecr.get_paginator("list_images").paginate(repositoryName="boto/app", PaginationConfig={"PageSize": 10}))
check("pages of list_images", [len(p["imageIds"]) for p in pages], [10, 10, 5])
check("tags of list_images", sorted(i["imageTag"] for p in pages for i in p["imageIds"]), tags)
for n in range(7):
    ecr.put_image(repositoryName="boto/app", imageTag=f"i{n}", imageManifest=m.replace('"schemaVersion"', " " * n + ' "schemaVersion"'))
pages = list(ecr.get_paginator("describe_images").paginate(repositoryName="boto/app", PaginationConfig={"PageSize": 3}))
check("pages of describe_images", [len(p["imageDetails"]) for p in pages], [3, 3, 2])
details = {d["imageDigest"]: d for p in pages for d in p["imageDetails"]}
check("imageTags", sorted(details[digest(m.encode())]["imageTags"]), tags)
check("imageSizeInBytes is the layers'", details[digest(m.encode())]["imageSizeInBytes"] >= len(big), True)
fails("ImageNotFoundException", ecr.describe_images, repositoryName="boto/app", imageIds=[{"imageTag": "none"}])
fails("InvalidParameterException", ecr.list_images, "Invalid next token", repositoryName="boto/app", nextToken="forged")

got = ecr.batch_get_image(repositoryName="boto/app", imageIds=[{"imageTag": "t003"}, {"imageDigest": "sha256:" + "0" * 64}, {}])
check("manifest, byte for byte", got["images"][0]["imageManifest"], m)
check("failures", sorted(f["failureCode"] for f in got["failures"]), ["ImageNotFound", "MissingDigestAndTag"])
check("availability", ecr.batch_check_layer_availability(repositoryName="boto/app", layerDigests=[
    digest(big), digest(b"none")])["layers"][0]["layerAvailability"], "AVAILABLE")

for n in range(12):
    ecr.create_repository(repositoryName=f"boto/r{n:02}")
pages = list(ecr.get_paginator("describe_repositories").paginate(PaginationConfig={"PageSize": 5}))
check("pages of describe_repositories", [len(p["repositories"]) for p in pages], [5, 5, 3])
fails("RepositoryNotFoundException", ecr.describe_repositories, repositoryNames=["boto/app", "none"])

arn = repo["repositoryArn"]
ecr.tag_resource(resourceArn=arn, tags=[{"Key": "c", "Value": "d"}])
ecr.untag_resource(resourceArn=arn, tagKeys=["a"])
check("tags", ecr.list_tags_for_resource(resourceArn=arn)["tags"], [{"Key": "c", "Value": "d"}])
ecr.put_image_tag_mutability(repositoryName="boto/app", imageTagMutability="IMMUTABLE")
fails("ImageTagAlreadyExistsException", ecr.put_image, repositoryName="boto/app", imageTag="t000", imageManifest=m + " ")
ecr.put_image_scanning_configuration(repositoryName="boto/app", imageScanningConfiguration={"scanOnPush": True})
check("scanOnPush", ecr.describe_repositories(repositoryNames=["boto/app"])["repositories"][0]["imageScanningConfiguration"]["scanOnPush"], True)

deleted = ecr.batch_delete_image(repositoryName="boto/app", imageIds=[{"imageTag": "t000"}])
check("one tag deleted", len(deleted["imageIds"]), 1)
deleted = ecr.batch_delete_image(repositoryName="boto/app", imageIds=[{"imageDigest": digest(m.encode())}])
check("an image deleted, with all its tags", len(deleted["imageIds"]), 24)
fails("RepositoryNotEmptyException", ecr.delete_repository, repositoryName="boto/app")
ecr.delete_repository(repositoryName="boto/app", force=True)

token = ecr.get_authorization_token()["authorizationData"][0]
user, _, password = base64.b64decode(token["authorizationToken"]).decode().partition(":")
check("user of the token", user, "AWS")
check("proxyEndpoint", token["proxyEndpoint"].startswith("http"), True)
check("registryId", ecr.describe_registry()["registryId"], "123456789012")
e = fails("UnknownOperationException", ecr.describe_pull_through_cache_rules)
check("a request ID", bool(e.response["ResponseMetadata"].get("RequestId")), True)
