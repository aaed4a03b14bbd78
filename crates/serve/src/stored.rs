//! Responses that may be asked for again, in memory: a bounded number, the oldest go first, and each tenant sees its own.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use puna::Tenant;
use puna_wire::responses::Earlier;
use serde_json::Value;

/// A response and what led to it.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub tenant: Tenant,
    pub response: Value,
    /// The items of its input, those of earlier responses included.
    pub items: Vec<Value>,
}

#[derive(Default)]
struct Inner {
    by_id: HashMap<String, Stored>,
    order: VecDeque<String>,
}

pub(crate) struct Store {
    inner: Mutex<Inner>,
    max: usize,
}

impl Store {
    pub fn new(max: usize) -> Store {
        Store { inner: Mutex::default(), max }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn insert(&self, id: String, stored: Stored) {
        self.with(|inner| {
            inner.order.push_back(id.clone());
            inner.by_id.insert(id, stored);
            while inner.order.len() > self.max {
                if let Some(oldest) = inner.order.pop_front() {
                    inner.by_id.remove(&oldest);
                }
            }
        });
    }

    pub fn get(&self, tenant: &Tenant, id: &str) -> Option<Stored> {
        self.with(|inner| inner.by_id.get(id).filter(|stored| stored.tenant == *tenant).cloned())
    }

    pub fn remove(&self, tenant: &Tenant, id: &str) -> bool {
        self.with(|inner| {
            let is_own = inner.by_id.get(id).is_some_and(|stored| stored.tenant == *tenant);
            if is_own {
                inner.by_id.remove(id);
                inner.order.retain(|other| other != id);
            }
            is_own
        })
    }
}

/// A tenant's part of the store.
pub(crate) struct Own<'s> {
    pub store: &'s Store,
    pub tenant: &'s Tenant,
}

impl Earlier for Own<'_> {
    fn response(&self, id: &str) -> Option<Vec<Value>> {
        let stored = self.store.get(self.tenant, id)?;
        let output = stored.response["output"].as_array().cloned().unwrap_or_default();
        Some(stored.items.into_iter().chain(output).collect())
    }

    fn item(&self, id: &str) -> Option<Value> {
        self.store.with(|inner| {
            let own = inner.by_id.values().filter(|stored| stored.tenant == *self.tenant);
            let items = own.flat_map(|stored| {
                stored.items.iter().chain(stored.response["output"].as_array().into_iter().flatten())
            });
            items.into_iter().find(|item| item["id"] == id).cloned()
        })
    }
}
