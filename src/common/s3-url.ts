/** `s3://bucket/key`, as the AWS CLI writes it, and what somebody probably meant who wrote it slightly wrong. */

/** Bucket, and key or prefix (empty for the bucket itself); `undefined` when the text is no such URL. */
export function splitS3Url(text: string): { bucket: string; key: string } | undefined {
  const match = /^s3:\/\/([^/]+)(?:\/(.*))?$/is.exec(text);
  return match ? { bucket: match[1]!, key: match[2] ?? "" } : undefined;
}

/** True for `s3:/data` and `s3:data`: an S3 URL that lacks slashes, rather than a local path. */
export function lacksSlashes(text: string): boolean {
  return /^s3:(?!\/\/)\/?[^/]/i.test(text);
}

/** `; did you mean 's3://data'?` for a text that is no S3 URL, or nothing where there is nothing to guess. */
export function didYouMeanS3(text: string): string {
  if (lacksSlashes(text)) return `; did you mean 's3://${text.replace(/^s3:\/?/i, "")}'?`;
  if (text === "" || text.includes("://") || /^[./~-]|^s3:/i.test(text)) return "";
  return `; did you mean 's3://${text}'?`;
}
