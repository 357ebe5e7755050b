/**
 * One run of a bucket, without the runs and everything else below it: its own files, and its folders with the number of a
 * step. A volume may hold a million keys beside the checkpoints at its top.
 */
import type { ListedObject } from "../../store/object-store.ts";
import { stepOf } from "../cleanup/checkpoint-name.ts";
import { listPages } from "../listing.ts";
import { BucketPlace } from "./place-bucket.ts";

export class RunPlace extends BucketPlace {
  override async *list(start = "", signal?: AbortSignal): AsyncGenerator<ListedObject[]> {
    const { store, prefix } = this;
    for await (const { objects, prefixes } of listPages(store, prefix + start, { delimiter: "/", signal })) {
      yield objects.flatMap((object) => {
        const key = object.key.slice(prefix.length);
        return key === "" ? [] : [{ ...object, key }];
      });
      for (const folder of prefixes) {
        const name = folder.slice(prefix.length);
        if (stepOf(name.slice(0, -1)) !== undefined) yield* super.list(name, signal);
      }
    }
  }
}
