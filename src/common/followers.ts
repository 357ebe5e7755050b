/**
 * Followers of an AbortSignal, of which one signal may have thousands.
 *
 * A signal keeps its listeners in a list and looks through it to remove one: with a thousand requests under one signal
 * that is most of a request's work. So each signal gets one listener, and its followers are a set. The listener goes with
 * the last of them, because a signal with a listener may be kept alive by it.
 */
interface Followers {
  stops: Set<() => void>;
  fire: () => void;
}

const followed = new WeakMap<AbortSignal, Followers>();

/** Calls `stop` once, when the signal fires after now. A function follows a signal once. */
export function follow(signal: AbortSignal, stop: () => void): void {
  let followers = followed.get(signal);
  if (!followers) {
    const stops = new Set<() => void>();
    const fire = (): void => {
      // Who stops following meanwhile is not called any more.
      for (const each of stops) {
        stops.delete(each);
        each();
      }
      followed.delete(signal);
    };
    followers = { stops, fire };
    followed.set(signal, followers);
    signal.addEventListener("abort", fire, { once: true });
  }
  followers.stops.add(stop);
}

/** May be called for who does not follow. */
export function unfollow(signal: AbortSignal, stop: () => void): void {
  const followers = followed.get(signal);
  if (!followers?.stops.delete(stop) || followers.stops.size > 0) return;
  followed.delete(signal);
  signal.removeEventListener("abort", followers.fire);
}
