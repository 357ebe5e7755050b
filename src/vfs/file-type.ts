/**
 * File types by the bits that `st_mode` and object metadata have for them.
 *
 * Special files (FIFOs, sockets and device nodes) are empty objects: what they stand for is in the kernel of the machine
 * that opens them.
 */
import type { FileType } from "./filesystem.ts";

export type SpecialType = Exclude<FileType, "file" | "directory" | "symlink">;

export const S_IFMT = 0o170000;

export const TYPE_BITS: Readonly<Record<FileType, number>> = {
  fifo: 0o010000,
  char: 0o020000,
  directory: 0o040000,
  block: 0o060000,
  file: 0o100000,
  symlink: 0o120000,
  socket: 0o140000,
};

const TYPES = new Map(Object.entries(TYPE_BITS).map(([type, bits]) => [bits, type as FileType]));

/** @returns undefined for bits that are no type, or none */
export function typeOfMode(mode: number): FileType | undefined {
  return TYPES.get(mode & S_IFMT);
}

export function isSpecial(type: FileType | undefined): type is SpecialType {
  return type === "fifo" || type === "socket" || isDevice(type);
}

export function isDevice(type: FileType | undefined): type is "block" | "char" {
  return type === "block" || type === "char";
}
