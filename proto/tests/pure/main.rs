//! Tests of the pure core: coordinates, patterns, keys, stored values, phext text, placement.
//! One binary, because linking is most of its cost. libphext 0.4 is the oracle where it can be.

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod coordinate;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod pattern;
#[cfg(test)]
mod phext;
#[cfg(test)]
mod placement;
#[cfg(test)]
mod replan;
#[cfg(test)]
mod value;
