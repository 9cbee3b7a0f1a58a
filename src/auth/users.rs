//! stub, replaced at merge
use crate::tenant::RoleName;
#[derive(Debug, Clone)]
pub struct Secret(pub String);
impl Secret { pub fn expose(&self) -> &[u8] { self.0.as_bytes() } }
#[derive(Debug, Clone)]
pub struct BackendLogin { pub role: RoleName, pub password: Option<Secret> }
