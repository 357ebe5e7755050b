/** Objects to objects, copied by the store itself: what a source names, as tasks. */
import { isGlob } from "../common/glob.ts";
import type { S3Address } from "./address.ts";
import { oneObject, single } from "./copy-down.ts";
import type { Connection } from "./connection.ts";
import type { Job } from "./job.ts";
import { folderPrefix } from "./listing.ts";
import { selectObjects } from "./select.ts";
import { copyTask } from "./tasks.ts";
import { nameOf } from "./route.ts";
import type { Route } from "./route.ts";
import type { Task } from "./tasks.ts";

export async function copyTasks(
  connection: Connection,
  job: Job,
  route: Route<S3Address, S3Address>,
): Promise<AsyncIterable<readonly Task[]>> {
  const { from, to, intoFolder, options } = route;
  const source = await connection.store(from.bucket);
  const target = await connection.store(to.bucket);
  if (!options.recursive && !isGlob(from.key)) {
    const object = await oneObject(source, from, job);
    const key = intoFolder ? folderPrefix(to.key) + nameOf(from) : to.key;
    return single(copyTask(source, object, target, key, options, options));
  }
  const nested = options.recursive && route.several && !isGlob(from.key);
  const prefix = folderPrefix(to.key) + (nested ? `${nameOf(from)}/` : "");
  return selectObjects(source, from, route, job.signal, (object, before) =>
    copyTask(source, object, target, prefix + object.key.slice(before.length), options, options),
  );
}
