/** What every read-only volume answers to requests that would change it. */
import { HawserError } from "../common/errors.ts";

function refuse(): never {
  throw new HawserError("volume_readonly", "The volume is mounted read-only.");
}

/** The changing half of Filesystem, refused. */
export class ReadOnly {
  setattr(): never {
    return refuse();
  }
  write(): never {
    return refuse();
  }
  fallocate(): never {
    return refuse();
  }
  copyFileRange(): never {
    return refuse();
  }
  create(): never {
    return refuse();
  }
  mkdir(): never {
    return refuse();
  }
  symlink(): never {
    return refuse();
  }
  mknod(): never {
    return refuse();
  }
  link(): never {
    return refuse();
  }
  unlink(): never {
    return refuse();
  }
  rmdir(): never {
    return refuse();
  }
  rename(): never {
    return refuse();
  }
  setxattr(): never {
    return refuse();
  }
  removexattr(): never {
    return refuse();
  }
}
