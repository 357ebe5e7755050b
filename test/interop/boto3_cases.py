"""What boto3 does with a server, case by case. The environment names server and credentials.

Runs every function of the list on the command line and prints one JSON line for each: its name, and its error if any.
"""

import base64
import hashlib
import io
import json
import os
import random
import sys
import tempfile
import traceback
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

MIB = 1024 * 1024
CONFIG = Config(signature_version="s3v4", retries={"max_attempts": 1}, s3={"addressing_style": "path"}, max_pool_connections=32)
PARTS = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)

s3 = boto3.client("s3", config=CONFIG)
bucket = os.environ["TEST_BUCKET"]


def data(size, seed=1):
    return random.Random(seed).randbytes(size)


def refused(code, call, **arguments):
    """The call fails with this code (or status)."""
    try:
        call(**arguments)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        assert code in (error.response["Error"]["Code"], status), error.response
        return error.response
    raise AssertionError(f"{call.__name__} was not refused")


def body(**arguments):
    return s3.get_object(Bucket=bucket, **arguments)["Body"].read()


def small():
    content = data(100_001)
    put = s3.put_object(
        Bucket=bucket, Key="small/ü b+c%20&=?#.bin", Body=content, ContentType="x/y", CacheControl="no-store",
        ContentDisposition="inline", ContentEncoding="identity", Metadata={"mode": "33188", "owner-name": "a b"},
    )
    assert put["ETag"] == f'"{hashlib.md5(content).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="small/ü b+c%20&=?#.bin")
    assert got["Body"].read() == content
    assert got["Metadata"] == {"mode": "33188", "owner-name": "a b"}
    head = s3.head_object(Bucket=bucket, Key="small/ü b+c%20&=?#.bin")
    for answer in (got, head):
        assert answer["ContentType"] == "x/y" and answer["CacheControl"] == "no-store"
        assert answer["ContentDisposition"] == "inline" and answer["ContentLength"] == len(content)
    s3.put_object(Bucket=bucket, Key="small/empty", Body=b"")
    assert body(Key="small/empty") == b""


def multipart():
    content = data(17 * MIB + 3)
    s3.upload_fileobj(io.BytesIO(content), bucket, "multipart/big", Config=PARTS)
    head = s3.head_object(Bucket=bucket, Key="multipart/big")
    assert head["ETag"].endswith('-4"') and head["ContentLength"] == len(content)
    md5s = b"".join(hashlib.md5(content[at : at + 5 * MIB]).digest() for at in range(0, len(content), 5 * MIB))
    assert head["ETag"] == f'"{hashlib.md5(md5s).hexdigest()}-4"'
    with tempfile.NamedTemporaryFile() as file:
        s3.download_file(bucket, "multipart/big", file.name, Config=PARTS)
        assert open(file.name, "rb").read() == content


def part_numbers():
    content = data(11 * MIB)
    s3.upload_fileobj(io.BytesIO(content), bucket, "parts/big", Config=PARTS)
    second = s3.get_object(Bucket=bucket, Key="parts/big", PartNumber=2)
    assert second["PartsCount"] == 3 and second["Body"].read() == content[5 * MIB : 10 * MIB]
    assert s3.head_object(Bucket=bucket, Key="parts/big", PartNumber=3)["ContentLength"] == MIB
    refused(416, s3.get_object, Bucket=bucket, Key="parts/big", PartNumber=4)


def ranges():
    content = data(1000)
    s3.put_object(Bucket=bucket, Key="ranges", Body=content)
    assert body(Key="ranges", Range="bytes=0-0") == content[:1]
    assert body(Key="ranges", Range="bytes=990-2000") == content[990:]
    assert body(Key="ranges", Range="bytes=500-") == content[500:]
    assert body(Key="ranges", Range="bytes=-7") == content[-7:]
    refused("InvalidRange", s3.get_object, Bucket=bucket, Key="ranges", Range="bytes=1000-")


ODD = [" ", "+", "%", "%2F", "&", "?", "#", "=", "~", "'", '"', "(", ")", "!", "*", ";", ",", "@", "$", "[", "]", "{", "}",
       "|", "^", "`", "ü", "日本", "\U0001f600", "\uffee", "-", "_", "."]  # fmt: skip


def odd_keys(prefix, count):
    return [f"{prefix}/{i % 25:02}{ODD[i % len(ODD)]}/{i:04}{ODD[(i * 7) % len(ODD)]}" for i in range(count)]


def check_folders(prefix, keys, operation, page):
    pages = s3.get_paginator(operation).paginate(
        Bucket=bucket, Prefix=f"{prefix}/", Delimiter="/", PaginationConfig={"PageSize": page}
    )
    folders = sorted({key[: key.index("/", len(prefix) + 1) + 1] for key in keys}, key=lambda key: key.encode())
    assert [one["Prefix"] for page in pages for one in page.get("CommonPrefixes", [])] == folders, operation


def listing_folders_v1():
    keys = odd_keys("folders", 400)
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    check_folders("folders", keys, "list_objects", 7)


def listing():
    keys = odd_keys("list", 2500)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=key.encode()), keys))
    expected = sorted(keys, key=lambda key: key.encode())
    for operation in ("list_objects_v2", "list_objects"):
        for size in (1000, 333):
            pages = s3.get_paginator(operation).paginate(Bucket=bucket, Prefix="list/", PaginationConfig={"PageSize": size})
            assert [one["Key"] for page in pages for one in page.get("Contents", [])] == expected, (operation, size)
    check_folders("list", keys, "list_objects_v2", 100)
    after = s3.list_objects_v2(Bucket=bucket, Prefix="list/", StartAfter=expected[1200], MaxKeys=5)
    assert [one["Key"] for one in after["Contents"]] == expected[1201:1206]
    assert after["KeyCount"] == 5 and after["IsTruncated"]
    one = s3.list_objects_v2(Bucket=bucket, Prefix=expected[0])["Contents"][0]
    assert one["Size"] == len(expected[0].encode()) and one["ETag"].startswith('"')
    for at in range(0, len(keys), 1000):
        batch = [{"Key": key} for key in keys[at : at + 1000]]
        assert len(s3.delete_objects(Bucket=bucket, Delete={"Objects": batch})["Deleted"]) == len(batch)
    assert s3.list_objects_v2(Bucket=bucket, Prefix="list/")["KeyCount"] == 0


def backslash():
    s3.put_object(Bucket=bucket, Key="back\\slash/a", Body=b"1")
    assert body(Key="back\\slash/a") == b"1"
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket, Prefix="back")["Contents"]] == ["back\\slash/a"]


def odd_slashes():
    keys = ["odd//a", "odd/./b", "odd/../c", "odd/d/", "odd/d/e", "odd/d", "/odd"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for key in keys:
        assert body(Key=key) == key.encode(), key
    listed = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket, Prefix="odd")["Contents"]]
    assert listed == sorted(keys[:-1]), listed


def copy():
    content = data(11 * MIB)
    source = {"Bucket": bucket, "Key": "copy/ü source+"}
    s3.put_object(**source, Body=content, ContentType="a/b", Metadata={"k": "v"}, Tagging="t=1")
    s3.copy_object(Bucket=bucket, Key="copy/same", CopySource=source)
    same = s3.get_object(Bucket=bucket, Key="copy/same")
    assert same["Body"].read() == content and same["Metadata"] == {"k": "v"} and same["ContentType"] == "a/b"
    assert s3.get_object_tagging(Bucket=bucket, Key="copy/same")["TagSet"] == [{"Key": "t", "Value": "1"}]
    s3.copy_object(
        Bucket=bucket, Key="copy/same", CopySource={"Bucket": bucket, "Key": "copy/same"},
        MetadataDirective="REPLACE", Metadata={"new": "1"}, ContentType="c/d",
    )
    replaced = s3.head_object(Bucket=bucket, Key="copy/same")
    assert replaced["Metadata"] == {"new": "1"} and replaced["ContentType"] == "c/d"
    s3.copy(source, bucket, "copy/parts", Config=PARTS)
    assert body(Key="copy/parts") == content
    refused("NoSuchKey", s3.copy_object, Bucket=bucket, Key="copy/x", CopySource={"Bucket": bucket, "Key": "copy/none"})


def copy_conditions():
    etag = s3.put_object(Bucket=bucket, Key="cc/a", Body=b"a")["ETag"]
    source = {"Bucket": bucket, "Key": "cc/a"}
    s3.copy_object(Bucket=bucket, Key="cc/b", CopySource=source, CopySourceIfMatch=etag)
    refused(412, s3.copy_object, Bucket=bucket, Key="cc/c", CopySource=source, CopySourceIfMatch='"0"')
    refused(412, s3.copy_object, Bucket=bucket, Key="cc/c", CopySource=source, CopySourceIfNoneMatch=etag)


def self_copy():
    s3.put_object(Bucket=bucket, Key="self", Body=b"a")
    refused("InvalidRequest", s3.copy_object, Bucket=bucket, Key="self", CopySource={"Bucket": bucket, "Key": "self"})


def delete():
    s3.put_object(Bucket=bucket, Key="delete/a", Body=b"a")
    s3.delete_object(Bucket=bucket, Key="delete/a")
    refused(404, s3.head_object, Bucket=bucket, Key="delete/a")
    s3.delete_object(Bucket=bucket, Key="delete/a")
    s3.put_object(Bucket=bucket, Key="delete/b", Body=b"b")
    wanted = {"Objects": [{"Key": "delete/b"}, {"Key": "delete/none"}], "Quiet": True}
    assert "Deleted" not in s3.delete_objects(Bucket=bucket, Delete=wanted)
    refused(404, s3.head_object, Bucket=bucket, Key="delete/b")


def presign():
    content = data(5000)
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "presign/ü +", "ContentType": "a/b"})
    request = urllib.request.Request(url, data=content, method="PUT", headers={"Content-Type": "a/b"})
    assert urllib.request.urlopen(request).status == 200
    url = s3.generate_presigned_url(
        "get_object", Params={"Bucket": bucket, "Key": "presign/ü +", "ResponseContentType": "c/d"}, ExpiresIn=60
    )
    answer = urllib.request.urlopen(url)
    assert answer.read() == content and answer.headers["Content-Type"] == "c/d"


def tagging():
    s3.put_object(Bucket=bucket, Key="tags", Body=b"", Tagging="a=1&b=x%20y")
    assert s3.head_object(Bucket=bucket, Key="tags").get("TagCount", 2) == 2
    tags = [{"Key": "c", "Value": "ü"}]
    s3.put_object_tagging(Bucket=bucket, Key="tags", Tagging={"TagSet": tags})
    assert s3.get_object_tagging(Bucket=bucket, Key="tags")["TagSet"] == tags
    s3.delete_object_tagging(Bucket=bucket, Key="tags")
    assert s3.get_object_tagging(Bucket=bucket, Key="tags")["TagSet"] == []


def checksums():
    content = data(10_000)
    for algorithm in ("CRC32", "SHA1", "SHA256"):
        key = f"checksum/{algorithm}"
        put = s3.put_object(Bucket=bucket, Key=key, Body=content, ChecksumAlgorithm=algorithm)
        value = put[f"Checksum{algorithm}"]
        got = s3.get_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        assert got["Body"].read() == content and got[f"Checksum{algorithm}"] == value
        wrong = base64.b64encode(bytes(len(base64.b64decode(value)))).decode()
        refused(400, s3.put_object, Bucket=bucket, Key=key, Body=content, **{f"Checksum{algorithm}": wrong})
    refused(400, s3.put_object, Bucket=bucket, Key=key, Body=content, ContentMD5=base64.b64encode(bytes(16)).decode())


def multipart_checksums():
    content = [data(5 * MIB, 1), data(1000, 2)]
    for algorithm, kind in (("CRC32", "FULL_OBJECT"), ("CRC32", "COMPOSITE"), ("SHA256", "COMPOSITE")):
        key = f"checksum/{algorithm}-{kind}"
        upload = s3.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm=algorithm, ChecksumType=kind)["UploadId"]
        parts = []
        for number, chunk in enumerate(content, 1):
            part = s3.upload_part(
                Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=chunk, ChecksumAlgorithm=algorithm
            )
            name = f"Checksum{algorithm}"
            parts.append({"PartNumber": number, "ETag": part["ETag"], name: part[name]})
        done = s3.complete_multipart_upload(
            Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}, ChecksumType=kind
        )
        assert done["ChecksumType"] == kind
        head = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        assert head["ChecksumType"] == kind
        if kind == "FULL_OBJECT":
            import zlib

            assert head["ChecksumCRC32"] == base64.b64encode(zlib.crc32(b"".join(content)).to_bytes(4, "big")).decode()
        else:
            assert head[f"Checksum{algorithm}"].endswith("-2")


def conditional_put():
    etag = s3.put_object(Bucket=bucket, Key="if/a", Body=b"1", IfNoneMatch="*")["ETag"]
    refused("PreconditionFailed", s3.put_object, Bucket=bucket, Key="if/a", Body=b"2", IfNoneMatch="*")
    refused("PreconditionFailed", s3.put_object, Bucket=bucket, Key="if/a", Body=b"2", IfMatch='"0"')
    s3.put_object(Bucket=bucket, Key="if/a", Body=b"2", IfMatch=etag)
    assert body(Key="if/a") == b"2"


def conditional_put_of_nothing():
    refused("NoSuchKey", s3.put_object, Bucket=bucket, Key="if/none", Body=b"2", IfMatch='"0"')


def conditional_complete():
    s3.put_object(Bucket=bucket, Key="if/mp", Body=b"1")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="if/mp")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="if/mp", UploadId=upload, PartNumber=1, Body=b"2")
    arguments = {
        "Bucket": bucket, "Key": "if/mp", "UploadId": upload,
        "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    }  # fmt: skip
    refused(412, s3.complete_multipart_upload, **arguments, IfNoneMatch="*")
    s3.abort_multipart_upload(Bucket=bucket, Key="if/mp", UploadId=upload)
    assert body(Key="if/mp") == b"1"


def conditional_get():
    etag = s3.put_object(Bucket=bucket, Key="get-if", Body=b"1")["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="get-if")["LastModified"]
    assert body(Key="get-if", IfMatch=etag) == b"1"
    assert body(Key="get-if", IfUnmodifiedSince=modified) == b"1"
    refused(412, s3.get_object, Bucket=bucket, Key="get-if", IfMatch='"0"')
    refused(304, s3.get_object, Bucket=bucket, Key="get-if", IfNoneMatch=etag)
    refused(304, s3.get_object, Bucket=bucket, Key="get-if", IfModifiedSince=modified)


def multipart_listing():
    ids = {}
    for i in range(5):
        key = f"uploads/{i} ü"
        ids[key] = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    first = next(iter(ids))
    etags = [
        s3.upload_part(Bucket=bucket, Key=first, UploadId=ids[first], PartNumber=number, Body=b"x" * number)["ETag"]
        for number in (3, 1, 7)
    ]
    parts = s3.get_paginator("list_parts").paginate(
        Bucket=bucket, Key=first, UploadId=ids[first], PaginationConfig={"PageSize": 2}
    )
    listed = [(part["PartNumber"], part["Size"], part["ETag"]) for page in parts for part in page.get("Parts", [])]
    assert listed == [(1, 1, etags[1]), (3, 3, etags[0]), (7, 7, etags[2])], listed
    uploads = s3.get_paginator("list_multipart_uploads").paginate(
        Bucket=bucket, Prefix="uploads/", PaginationConfig={"PageSize": 2}
    )
    found = {one["Key"]: one["UploadId"] for page in uploads for one in page.get("Uploads", [])}
    assert found == ids, found
    for key, upload in ids.items():
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket, Prefix="uploads/")
    refused("NoSuchUpload", s3.list_parts, Bucket=bucket, Key=first, UploadId=ids[first])


def multipart_mistakes():
    upload = s3.create_multipart_upload(Bucket=bucket, Key="mistakes")["UploadId"]
    etags = [
        s3.upload_part(Bucket=bucket, Key="mistakes", UploadId=upload, PartNumber=number, Body=b"small")["ETag"]
        for number in (1, 2)
    ]
    one, two = ({"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1))
    common = {"Bucket": bucket, "Key": "mistakes", "UploadId": upload}
    refused("EntityTooSmall", s3.complete_multipart_upload, **common, MultipartUpload={"Parts": [one, two]})
    refused("InvalidPartOrder", s3.complete_multipart_upload, **common, MultipartUpload={"Parts": [two, one]})
    wrong = {"PartNumber": 1, "ETag": '"00000000000000000000000000000000"'}
    refused("InvalidPart", s3.complete_multipart_upload, **common, MultipartUpload={"Parts": [wrong]})
    s3.abort_multipart_upload(**common)


def versions():
    name = f"{bucket}-versions"
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    first = s3.put_object(Bucket=name, Key="v", Body=b"1")["VersionId"]
    second = s3.put_object(Bucket=name, Key="v", Body=b"22")["VersionId"]
    assert s3.get_object(Bucket=name, Key="v", VersionId=first)["Body"].read() == b"1"
    gone = s3.delete_object(Bucket=name, Key="v")
    assert gone["DeleteMarker"]
    refused(404, s3.head_object, Bucket=name, Key="v")
    listed = s3.list_object_versions(Bucket=name)
    assert [one["VersionId"] for one in listed["Versions"]] == [second, first]
    assert [one["VersionId"] for one in listed["DeleteMarkers"]] == [gone["VersionId"]]
    s3.delete_object(Bucket=name, Key="v", VersionId=gone["VersionId"])
    assert s3.get_object(Bucket=name, Key="v")["Body"].read() == b"22"
    for version in (first, second):
        s3.delete_object(Bucket=name, Key="v", VersionId=version)
    s3.delete_bucket(Bucket=name)


def errors():
    refused("NoSuchKey", s3.get_object, Bucket=bucket, Key="none")
    refused("NoSuchBucket", s3.list_objects_v2, Bucket="no-such-bucket-at-all")
    wrong = boto3.client("s3", config=CONFIG, aws_secret_access_key="wrong", aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"])
    refused("SignatureDoesNotMatch", wrong.list_objects_v2, Bucket=bucket)
    stranger = boto3.client("s3", config=CONFIG, aws_secret_access_key="wrong", aws_access_key_id="AKIANOBODY")
    refused("InvalidAccessKeyId", stranger.list_objects_v2, Bucket=bucket)


def buckets():
    name = f"{bucket}-more"
    s3.create_bucket(Bucket=name)
    assert name in [one["Name"] for one in s3.list_buckets()["Buckets"]]
    s3.head_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="a", Body=b"")
    refused("BucketNotEmpty", s3.delete_bucket, Bucket=name)
    s3.delete_object(Bucket=name, Key="a")
    s3.delete_bucket(Bucket=name)
    refused(404, s3.head_bucket, Bucket=name)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        try:
            globals()[name]()
            error = None
        except Exception:
            error = traceback.format_exc()
        print(json.dumps({"name": name, "error": error}), flush=True)
