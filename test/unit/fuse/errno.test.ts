import { constants } from "node:os";
import { describe, expect, it } from "vitest";
import { ERROR_CODES, HawserError, type ErrorCode } from "../../../src/common/errors.ts";
import { errnoOf } from "../../../src/fuse/errno.ts";

const codes = Object.keys(ERROR_CODES) as ErrorCode[];

describe("errnoOf", () => {
  it.each(codes)("%s has an errno, and never ENOSYS, which would silence the operation for good", (code) => {
    const errno = errnoOf(new HawserError(code, "x"));
    expect(errno).toBeGreaterThan(0);
    expect(errno).not.toBe(constants.errno.ENOSYS);
  });

  it("answers the kernel with what makes it look a stale name up again", () => {
    expect(errnoOf(new HawserError("stale", "x"))).toBe(constants.errno.ESTALE);
  });

  it.each([new Error("a bug"), "text", undefined])("takes %s for an I/O error", (thrown) => {
    expect(errnoOf(thrown)).toBe(constants.errno.EIO);
  });
});
