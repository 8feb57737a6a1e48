//! Moves a whole SQ installation into a ranch, with the administrator's key: tenants with their
//! keys and quotas, then phext after phext, each compared by its checksum when it is there.
//!
//! Can be run again after it broke off: a tenant that exists is kept as it is, a phext whose
//! checksum is right already is left alone, and a scroll that has another text by now keeps it.

use std::collections::BTreeSet;
use std::time::Instant;

use http::Method;
use indicatif::ProgressBar;
use ranch_proto::Coordinate;
use ranch_proto::api_key::CHOSEN_KEY_MIN;
use ranch_proto::phext::checksum_hex;
use serde_json::Value;

use super::super::api::{self, NewTenant, Scrolls};
use super::super::error::CliError;
use super::super::http::{Call, ClientError, Http};
use super::super::output;
use super::installation::{Household, Installation, Problem};
use super::source::Source;
use super::upload::{self, Upload};
use super::{Extent, ImportError, report};

/// Bytes of a megabyte, as quotas count them.
const MB: f64 = 1_048_576.0;

/// Carries out one migration.
pub struct Migration<'a> {
    http: &'a Http,
    in_flight: usize,
    problems: Vec<Problem>,
    moved: Extent,
    /// Phexts whose checksum was right before.
    there: u64,
}

/// Shows what would be moved, and what could not be.
///
/// # Errors
/// [`ImportError::Problems`] when something could not be moved.
pub fn rehearse(installation: &Installation) -> Result<(), CliError> {
    let mut rows = vec![["tenant", "phext", "scrolls", "size"].map(str::to_owned).to_vec()];
    for tenant in &installation.tenants {
        for (source, extent) in &tenant.phexts {
            rows.push(vec![
                tenant.id.clone(),
                source.phext.clone().unwrap_or_default(),
                extent.scrolls.to_string(),
                output::human_bytes(extent.bytes),
            ]);
        }
    }
    output::line(&output::table(&rows))?;
    conclude(&installation.problems)
}

impl<'a> Migration<'a> {
    /// A migration that sends up to `in_flight` scrolls at a time.
    pub fn new(http: &'a Http, in_flight: usize) -> Self {
        let (problems, moved) = (Vec::new(), Extent::default());
        Self { http, in_flight, problems, moved, there: 0 }
    }

    /// Moves everything that can be moved.
    ///
    /// # Errors
    /// When the ranch cannot be reached or refuses the key; [`ImportError::Problems`] at the end
    /// when something was left behind.
    pub async fn run(mut self, installation: Installation) -> Result<(), CliError> {
        let started = Instant::now();
        let known = self.tenants().await?;
        let bar = output::progress(installation.extent().scrolls, "moving");
        self.problems = installation.problems;
        for tenant in &installation.tenants {
            self.tenant(tenant, &known, &bar).await?;
        }
        bar.finish_and_clear();
        output::notice(&format!(
            "moved {} scrolls ({}) of {} tenants in {:.1} s; phexts there already: {}",
            self.moved.scrolls,
            output::human_bytes(self.moved.bytes),
            installation.tenants.len(),
            started.elapsed().as_secs_f64(),
            self.there,
        ));
        conclude(&self.problems)
    }

    /// The ids of the tenants the ranch has.
    async fn tenants(&self) -> Result<BTreeSet<String>, ClientError> {
        let call = Call::get("/api/v2/admin/tenants", "listing the tenants");
        let list = self.http.ask_json::<Value>(&call).await?;
        let ids = list["tenants"].as_array().into_iter().flatten();
        Ok(ids.filter_map(|tenant| tenant["tenant_id"].as_str()).map(str::to_owned).collect())
    }

    async fn tenant(
        &mut self,
        tenant: &Household,
        known: &BTreeSet<String>,
        bar: &ProgressBar,
    ) -> Result<(), CliError> {
        if !known.contains(&tenant.id) {
            self.add(tenant).await?;
        }
        for (source, extent) in &tenant.phexts {
            let scrolls = Scrolls {
                http: self.http.clone(),
                phext: source.phext.clone(),
                tenant: Some(tenant.id.clone()),
            };
            self.phext(&scrolls, source, extent, bar).await?;
        }
        if !tenant.enabled {
            let path = format!("/api/v2/admin/tenants/{}", tenant.id);
            let what = format!("disabling tenant {}", tenant.id);
            self.http.ask_whole(&Call::new(Method::DELETE, path, what)).await?;
        }
        Ok(())
    }

    /// Adds a tenant with the keys it had, as far as a ranch takes them.
    async fn add(&mut self, tenant: &Household) -> Result<(), CliError> {
        let fits = |key: &&ranch_proto::api_key::Secret| key.expose().len() >= CHOSEN_KEY_MIN;
        let mut keys = tenant.keys.iter().filter(fits);
        let first = keys.next();
        let new = NewTenant {
            tenant_id: tenant.id.clone(),
            quota_mb: tenant.quota_bytes.map(|bytes| bytes as f64 / MB),
            key: first.map(|key| key.expose().to_owned()),
            ..NewTenant::default()
        };
        let added = api::add_tenant(self.http, &new).await?;
        if let (None, Some(key)) = (first, added["api_key"].as_str()) {
            // Shown this once, so on standard output, where it can be kept.
            output::line(&format!("{}\t{key}", tenant.id))?;
        }
        if fits_none(tenant) {
            output::notice(&format!(
                "tenant {}: its key is shorter than {CHOSEN_KEY_MIN} characters, which only a \
                 tenants file may bring in; it has the new key printed",
                tenant.id
            ));
        }
        for key in keys {
            api::add_key(self.http, &tenant.id, key).await?;
        }
        Ok(())
    }

    async fn phext(
        &mut self,
        scrolls: &Scrolls,
        source: &Source,
        extent: &Extent,
        bar: &ProgressBar,
    ) -> Result<(), CliError> {
        let expected = checksum_hex(extent.checksum);
        if scrolls.checksum().await?.as_deref() == Some(expected.as_str()) {
            bar.inc(extent.scrolls);
            self.there += 1;
            return Ok(());
        }
        let upload = Upload::new(scrolls, source, bar.clone()).keeping();
        let done = upload.run(self.in_flight).await?;
        bar.suspend(|| report(&done.refused));
        upload::verify(scrolls, source, &done.stored).await?;
        self.moved.scrolls += done.stored.len() as u64;
        self.moved.bytes += extent.bytes;
        let name = &source.name;
        if !done.refused.is_empty() {
            let count = done.refused.len();
            self.problems.push(format!("{name}: {count} scroll(s) were refused"));
        }
        if let Some(first) = done.kept.first() {
            let (count, first) = (done.kept.len(), Coordinate::Numeric(*first));
            self.problems.push(format!(
                "{name}: {count} scroll(s) have another text in the ranch, which is kept; the \
                 first is {first}"
            ));
        }
        let complete = done.refused.is_empty() && done.kept.is_empty();
        match scrolls.checksum().await? {
            Some(found) if complete && found != expected => self.problems.push(format!(
                "{name}: the ranch's text has checksum {found}, the file {expected}; all of the \
                 file is there, so the phext holds other scrolls, too"
            )),
            _ => {}
        }
        Ok(())
    }
}

fn fits_none(tenant: &Household) -> bool {
    !tenant.keys.is_empty() && tenant.keys.iter().all(|key| key.expose().len() < CHOSEN_KEY_MIN)
}

/// Names every problem, and fails if there is one.
fn conclude(problems: &[Problem]) -> Result<(), CliError> {
    for problem in problems {
        output::notice(&format!("left behind: {problem}"));
    }
    match problems.len() {
        0 => Ok(()),
        count => Err(ImportError::Problems { count }.into()),
    }
}
