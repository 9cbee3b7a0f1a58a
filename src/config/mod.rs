//! Files and environment become checked settings.
