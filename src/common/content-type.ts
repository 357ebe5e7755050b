/**
 * Content types by extension, for what is written: browsers and viewers that read the bucket go by it.
 *
 * Only types that somebody may want to look at where they lie. Everything else is plain bytes.
 */

export const PLAIN_BYTES = "application/octet-stream";

const TYPES: Readonly<Record<string, string>> = {
  bmp: "image/bmp",
  bz2: "application/x-bzip2",
  css: "text/css",
  csv: "text/csv",
  flac: "audio/flac",
  gif: "image/gif",
  gz: "application/gzip",
  htm: "text/html",
  html: "text/html",
  ico: "image/x-icon",
  ipynb: "application/x-ipynb+json",
  jpeg: "image/jpeg",
  jpg: "image/jpeg",
  js: "text/javascript",
  json: "application/json",
  jsonl: "application/jsonl",
  log: "text/plain",
  m4a: "audio/mp4",
  md: "text/markdown",
  mjs: "text/javascript",
  mp3: "audio/mpeg",
  mp4: "video/mp4",
  ogg: "audio/ogg",
  parquet: "application/vnd.apache.parquet",
  pdf: "application/pdf",
  png: "image/png",
  svg: "image/svg+xml",
  tar: "application/x-tar",
  tif: "image/tiff",
  tiff: "image/tiff",
  tsv: "text/tab-separated-values",
  txt: "text/plain",
  wav: "audio/wav",
  webm: "video/webm",
  webp: "image/webp",
  xml: "application/xml",
  yaml: "application/yaml",
  yml: "application/yaml",
  zip: "application/zip",
  zst: "application/zstd",
};

/** The content type for a file's name. */
export function contentTypeOf(name: string): string {
  const dot = name.lastIndexOf(".");
  // A name that only begins with a dot has no extension.
  return (dot > 0 ? TYPES[name.slice(dot + 1).toLowerCase()] : undefined) ?? PLAIN_BYTES;
}
