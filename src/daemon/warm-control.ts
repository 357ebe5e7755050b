/** What the control socket of a mount answers about warming. */
import type { ControlMethods } from "./control-protocol.ts";
import type { WarmJobs, WarmStatus } from "./warm-jobs.ts";
import type { Milliseconds } from "../common/units.ts";

type Params<M extends keyof ControlMethods> = ControlMethods[M]["params"];

/** How often progress is told: what a person can follow. */
const PROGRESS_MS: Milliseconds = 200;

export function warmHandlers(jobs: WarmJobs) {
  return {
    warm: ({ paths }: Params<"warm">) => jobs.start(paths),
    warmList: ({ id, paths, last }: Params<"warmList">) => {
      const status = id === undefined ? jobs.startList() : jobs.find(id);
      jobs.add(status.id, paths, last);
      return status;
    },
    warmWait: ({ id }: Params<"warmWait">, emit: (event: unknown) => void) => {
      let nextMs = 0;
      return jobs.wait(id, (status: WarmStatus) => {
        const now = performance.now();
        if (now < nextMs) return;
        nextMs = now + PROGRESS_MS;
        emit(status);
      });
    },
    warmCancel: ({ id }: Params<"warmCancel">) => ({ cancelled: jobs.cancel(id) }),
    evict: async ({ paths }: Params<"evict">) => ({ freedBytes: await jobs.evict(paths) }),
  };
}
