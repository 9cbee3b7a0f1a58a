//! The demo: three PostgreSQL clusters, four tenants and veneer in front, on loopback.
