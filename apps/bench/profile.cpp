#include "apps/bench/profile.h"

#include <algorithm>
#include <map>

#include "apps/bench/timing.h"
#include "core/trace.h"

namespace vitrine::apps {
namespace {

constexpr const char* kPhases[] = {"forward", "backward", "optimizer"};
constexpr const char* kBetween = "between ops";

using Key = std::pair<std::string, std::string>;  // phase, op
using Sums = std::map<Key, ProfileRow>;

/// Events by op, each without the time and memory of those inside it, which belong to the phase of the outermost.
Sums sum_by_op(const trace::Recorder& recorder) {
  std::vector<const trace::Event*> events;
  for (const trace::Event& e : recorder.events())
    if (e.kind != trace::Event::Kind::kernel) events.push_back(&e);
  std::sort(events.begin(), events.end(), [](const auto* a, const auto* b) {
    return a->start_us != b->start_us ? a->start_us < b->start_us : a->duration_us > b->duration_us;
  });
  Sums sums;
  struct Open {
    double end;
    const char* phase;
    ProfileRow* row;
  };
  std::vector<Open> open;
  for (const trace::Event* e : events) {
    while (!open.empty() && open.back().end <= e->start_us) open.pop_back();
    const char* phase = !open.empty() ? open.front().phase : kPhases[e->kind == trace::Event::Kind::backward];
    if (!open.empty()) {
      open.back().row->ms -= e->duration_us * 1e-3;
      open.back().row->allocated_bytes -= e->allocated_bytes;
    }
    ProfileRow& row = sums[{phase, e->name}];
    row.phase = phase, row.op = e->name;
    row.ms += e->duration_us * 1e-3;
    row.allocated_bytes += e->allocated_bytes;
    ++row.calls;
    open.push_back({e->start_us + e->duration_us, phase, &row});
  }
  return sums;
}

/// What the phases took beyond their ops.
void add_rest(Sums& sums, const PhaseTimes& times) {
  const double totals[] = {times.forward, times.backward, times.optimizer};
  for (size_t p = 0; p < std::size(kPhases); ++p) {
    double ops = 0;
    for (const auto& [key, row] : sums)
      if (key.first == kPhases[p]) ops += row.ms;
    if (totals[p] == 0) continue;
    const std::string name = p == 2 ? "adamw_" : kBetween;
    sums[{kPhases[p], name}] = {.phase = kPhases[p], .op = name, .ms = totals[p] - ops, .calls = p == 2};
  }
}

}  // namespace

std::vector<ProfileRow> profile(ModelWork& work, int rounds) {
  for (int i = 0; i < 2; ++i) work.run();
  std::map<Key, std::vector<double>> times;
  Sums last;
  for (int i = 0; i < rounds; ++i) {
    const trace::Recorder recorder;
    const PhaseTimes phases = work.run();
    last = sum_by_op(recorder);
    add_rest(last, phases);
    for (const auto& [key, row] : last) times[key].push_back(row.ms);
  }
  std::vector<ProfileRow> rows;
  for (auto& [key, row] : last) {
    row.ms = median(times[key]);
    rows.push_back(row);
  }
  const auto rank = [](const ProfileRow& r) { return std::find(kPhases, kPhases + 3, r.phase) - kPhases; };
  std::stable_sort(rows.begin(), rows.end(), [&](const ProfileRow& a, const ProfileRow& b) {
    return rank(a) != rank(b) ? rank(a) < rank(b) : a.ms > b.ms;
  });
  return rows;
}

Table profile_table(const std::vector<ProfileRow>& rows) {
  double total = 0;
  for (const ProfileRow& r : rows) total += r.ms;
  Table table({"phase", "op", "calls", "ms", "%", "MB allocated"});
  for (const ProfileRow& r : rows)
    table.add({r.phase, r.op, std::to_string(r.calls), significant(r.ms), significant(100 * r.ms / total),
               significant(double(r.allocated_bytes) * 1e-6)});
  table.add({"all", "", "", significant(total), "100", ""});
  return table;
}

nlohmann::ordered_json profile_json(const std::vector<ProfileRow>& rows) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const ProfileRow& r : rows)
    list.push_back(
        {{"phase", r.phase}, {"op", r.op}, {"calls", r.calls}, {"ms", r.ms}, {"allocated_bytes", r.allocated_bytes}});
  return list;
}

}  // namespace vitrine::apps
