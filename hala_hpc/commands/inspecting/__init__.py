"""Show what data holds before it is prepared."""
