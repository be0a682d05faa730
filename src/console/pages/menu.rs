//! Paths and titles of the pages.

/// The path and the title of a page.
#[derive(Clone, Copy, Debug)]
pub struct PageInfo {
    /// Path of the page, and of the endpoint below `/api/v1`.
    pub path: &'static str,
    pub title: &'static str,
}

pub const DASHBOARD: PageInfo = PageInfo::new("/dashboard", "Dashboard");
pub const PROCESSES: PageInfo = PageInfo::new("/consumers", "Processes");
pub const HEALTH: PageInfo = PageInfo::new("/health", "Health");
pub const SESSIONS: PageInfo = PageInfo::new("/sessions", "Sessions");
pub const POLICIES: PageInfo = PageInfo::new("/policies", "Policies");
pub const SOURCES: PageInfo = PageInfo::new("/sources", "Sources");
pub const TERMINAL_EVENTS: PageInfo = PageInfo::new("/terminal-events", "Terminal events");
pub const TOPICS: PageInfo = PageInfo::new("/topics", "Topics");
pub const DEAD_LETTERS: PageInfo = PageInfo::new("/dead-letters", "Dead letters");
pub const ERRORS: PageInfo = PageInfo::new("/errors", "Errors");
/// Not in the menu.
pub const LOGIN: PageInfo = PageInfo::new("/login", "Log in");

/// The menu, in order.
pub const MENU: [PageInfo; 10] = [
    DASHBOARD,
    PROCESSES,
    HEALTH,
    SESSIONS,
    POLICIES,
    SOURCES,
    TERMINAL_EVENTS,
    TOPICS,
    DEAD_LETTERS,
    ERRORS,
];

impl PageInfo {
    const fn new(path: &'static str, title: &'static str) -> Self {
        Self { path, title }
    }
}
