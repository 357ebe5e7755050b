/** The file that says of a folder: this checkpoint is being removed. It goes last, so that half of one is never taken for a whole. */
export const TOMBSTONE = ".hawser-pruning";
