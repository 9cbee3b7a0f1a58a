//! Statement, session facts and directory become a plan. Pure: no socket, clock or lock.
