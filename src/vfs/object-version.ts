/** The object version that a row of the tree stands for. */
import type { ObjectVersion } from "../cache/content.ts";
import { Double } from "./inode-segment.ts";
import { ROOT_ROW } from "./inode-table.ts";
import type { Row } from "./inode-table.ts";
import type { Tree } from "./tree.ts";

/** @param folderKey the key prefix of the row's folder, from `folderKeyOf` */
export function objectVersion({ table }: Tree, folderKey: string, row: Row): ObjectVersion {
  return {
    key: folderKey + table.name(row),
    etag: table.etag(row),
    sizeBytes: table.getDouble(row, Double.size),
    mtimeMs: table.getDouble(row, Double.mtimeMs),
    storageClass: table.storageClass(row),
  };
}

/** What the keys in a folder begin with. @param prefix the volume's, normalized */
export function folderKeyOf(tree: Tree, prefix: string, folder: Row): string {
  return folder === ROOT_ROW ? prefix : `${prefix}${tree.path(folder)}/`;
}
