//! A bounded memory of what was made last.

/// The values that were asked for last, by their keys. Room for a new one is made by forgetting the one
/// that was asked for the longest ago.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    entries: Vec<Entry<K, V>>,
    most: usize,
    /// Of the last question.
    time: u64,
}

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
    used: u64,
}

impl<K: Clone + PartialEq, V: Copy> Recent<K, V> {
    /// Remembers at most so many, and allocates their memory now, so that nothing does later.
    pub(super) fn new(most: usize) -> Self {
        Self { entries: Vec::with_capacity(most), most, time: 0 }
    }

    /// The key's value, made only if it is not remembered; an error is not.
    pub(super) fn get<E>(&mut self, key: &K, make: impl FnOnce() -> Result<V, E>) -> Result<V, E> {
        self.time += 1;
        let used = self.time;
        // keys are few, and tell early that they differ: no hash is faster
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.key == *key) {
            entry.used = used;
            return Ok(entry.value);
        }
        let value = make()?;
        let entry = Entry { key: key.clone(), value, used };
        if self.entries.len() < self.most {
            self.entries.push(entry);
        } else if let Some(oldest) = self.entries.iter_mut().min_by_key(|entry| entry.used) {
            *oldest = entry;
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [u32; 0] = [];

    /// Asks for each key in turn; the keys that had to be made, whose values are their squares.
    fn made(recent: &mut Recent<u32, u32>, keys: &[u32]) -> Vec<u32> {
        let mut made = vec![];
        for key in keys {
            let value = recent.get(key, || {
                made.push(*key);
                Ok::<_, ()>(key * key)
            });
            assert_eq!(value, Ok(key * key));
        }
        made
    }

    #[test]
    fn what_is_remembered_is_not_made_again() {
        let mut recent = Recent::new(3);
        assert_eq!(made(&mut recent, &[1, 2, 3]), [1, 2, 3], "three misses");
        assert_eq!(made(&mut recent, &[3, 1, 2, 2, 1, 3]), NONE, "six hits");
    }

    #[test]
    fn the_one_asked_for_the_longest_ago_is_forgotten() {
        let mut recent = Recent::new(3);
        made(&mut recent, &[1, 2, 3]);
        assert_eq!(made(&mut recent, &[1, 4]), [4], "1 is asked for again, 2 is forgotten for 4");
        assert_eq!(made(&mut recent, &[1, 3, 4]), NONE);
        assert_eq!(made(&mut recent, &[2, 1]), [2, 1], "2 for 1, which is then asked for anew");
    }

    #[test]
    fn it_stays_within_its_bound_and_its_memory() {
        let mut recent = Recent::new(64);
        let capacity = recent.entries.capacity();
        let keys: Vec<_> = (0..1000).collect();
        assert_eq!(made(&mut recent, &keys).len(), 1000);
        assert_eq!((recent.entries.len(), recent.entries.capacity()), (64, capacity));
        assert_eq!(made(&mut recent, &keys[936..]), NONE, "the last 64");
        assert_eq!(made(&mut recent, &keys[935..936]), [935], "the one before");
        let mut none = Recent::new(0);
        assert_eq!(made(&mut none, &[1, 1]), [1, 1], "room for none is no error");
    }

    #[test]
    fn an_error_is_not_remembered_and_forgets_nothing() {
        let mut recent = Recent::new(1);
        made(&mut recent, &[1]);
        assert_eq!(recent.get(&2, || Err("no")), Err("no"));
        assert_eq!(made(&mut recent, &[1]), NONE);
        assert_eq!(made(&mut recent, &[2]), [2]);
    }
}
