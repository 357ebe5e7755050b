/**
 * What a writable volume does otherwise than POSIX says, by the cases of pjdfstest that show it. docs/POSIX.md gives the
 * reasons; a test compares the two lists.
 */
interface PosixException {
  /** As the page's heading says. */
  title: string;
  /** Names of cases. */
  cases: readonly string[];
}

export const POSIX_EXCEPTIONS: readonly PosixException[] = [
  {
    title: "Hard links",
    cases: [
      "link::changed_ctime_success::block",
      "link::changed_ctime_success::char",
      "link::changed_ctime_success::fifo",
      "link::changed_ctime_success::regular",
      "link::changed_ctime_success::socket",
      "link::remove_link::block",
      "link::remove_link::char",
      "link::remove_link::fifo",
      "link::remove_link::regular",
      "link::remove_link::socket",
      "link::share_metadata::block",
      "link::share_metadata::char",
      "link::share_metadata::fifo",
      "link::share_metadata::regular",
      "link::share_metadata::socket",
      "rename::preserve_metadata::block",
      "rename::preserve_metadata::char",
      "rename::preserve_metadata::fifo",
      "rename::preserve_metadata::regular",
      "rename::preserve_metadata::socket",
      "rename::to_multiply_linked::block",
      "rename::to_multiply_linked::char",
      "rename::to_multiply_linked::fifo",
      "rename::to_multiply_linked::regular",
      "rename::to_multiply_linked::socket",
      "unlink::unchanged_ctime_failed::block",
      "unlink::unchanged_ctime_failed::char",
      "unlink::unchanged_ctime_failed::fifo",
      "unlink::unchanged_ctime_failed::regular",
      "unlink::unchanged_ctime_failed::socket",
      "unlink::update_ctime_success::block",
      "unlink::update_ctime_success::char",
      "unlink::update_ctime_success::fifo",
      "unlink::update_ctime_success::regular",
      "unlink::update_ctime_success::socket",
    ],
  },
  {
    title: "Paths longer than a key",
    cases: [
      "chmod::enametoolong_path",
      "chown::enametoolong_path",
      "chown::lchown::enametoolong_path",
      "link::enametoolong_path",
      "mkdir::enametoolong_path",
      "mkfifo::enametoolong_path",
      "mknod::enametoolong_path",
      "mknod::privileged::enametoolong_path",
      "open::enametoolong_path",
      "rename::enametoolong_path",
      "rmdir::enametoolong_path",
      "symlink::enametoolong_path",
      "truncate::enametoolong_path",
      "unlink::enametoolong_path",
    ],
  },
  {
    title: "The link count of a folder",
    cases: ["rename::updates_link_parent"],
  },
];
