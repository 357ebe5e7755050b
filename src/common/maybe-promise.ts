/** A value now, or later. Hot paths answer with a value: a promise costs an allocation and a turn of the event loop. */
export type MaybePromise<T> = T | Promise<T>;
