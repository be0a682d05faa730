package dev.sundown.peer;

/**
 * When sessions end, in milliseconds.
 *
 * @param lateness how long after a deadline events that came late are still waited for
 */
record Timeouts(long idle, long absolute, long lateness) {
}
