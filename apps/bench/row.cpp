#include "apps/bench/row.h"

#include <algorithm>

namespace vitrine::apps {
namespace {

using Row = BenchRow;

std::string scientific(double x) {
  if (std::isnan(x)) return "-";
  char text[32];
  snprintf(text, sizeof text, "%.1e", x);
  return text;
}

struct Column {
  const char* title;
  std::string (*cell)(const Row&);
};

constexpr Column kColumns[] = {
    {"name", [](const Row& r) { return r.name; }},
    {"sample", [](const Row& r) { return r.sample; }},
    {"dtype", [](const Row& r) { return r.dtype; }},
    {"pass", [](const Row& r) { return r.direction; }},
    {"ms", [](const Row& r) { return significant(r.ms); }},
    {"images/s", [](const Row& r) { return significant(r.images_per_s); }},
    {"GFLOP/s", [](const Row& r) { return significant(r.gflops); }},
    {"GB/s", [](const Row& r) { return significant(r.gbytes_per_s); }},
    {"% of peak", [](const Row& r) { return significant(r.percent_of_peak); }},
    {"% of DRAM", [](const Row& r) { return significant(r.percent_of_dram); }},
    {"% of bare oneDNN", [](const Row& r) { return significant(r.percent_of_onednn); }},
    {"RPE tax %", [](const Row& r) { return significant(r.rpe_tax); }},
    {"memory tax %", [](const Row& r) { return significant(r.rpe_memory_tax); }},
    {"MB", [](const Row& r) { return significant(r.process_bytes * 1e-6); }},
    {"peer MB", [](const Row& r) { return significant(r.peer_process_bytes * 1e-6); }},
    {"peer ms", [](const Row& r) { return significant(r.peer_ms); }},
    {"ratio", [](const Row& r) { return r.check.starts_with("FAIL") ? "FAIL" : significant(r.ratio); }},
    {"min", [](const Row& r) { return significant(r.ratio_min); }},
    {"max", [](const Row& r) { return significant(r.ratio_max); }},
    {"error", [](const Row& r) { return scientific(r.difference); }},
    {"peer's", [](const Row& r) { return scientific(r.peer_difference); }},
};

}  // namespace

nlohmann::ordered_json BenchRow::json() const {
  nlohmann::ordered_json row = {{"name", name},
                                {"sample", sample},
                                {"device", device},
                                {"dtype", dtype},
                                {"direction", direction},
                                {"ms", ms},
                                {"gflops", gflops},
                                {"gbytes_per_s", gbytes_per_s},
                                {"percent_of_peak", percent_of_peak},
                                {"percent_of_dram", percent_of_dram},
                                {"percent_of_onednn", percent_of_onednn},
                                {"system_allocations", system_allocations},
                                {"foreign_load", load}};
  for (const auto& [key, value] : {std::pair("images_per_s", images_per_s),
                                   {"rpe_tax_percent", rpe_tax},
                                   {"rpe_memory_tax_percent", rpe_memory_tax},
                                   {"peak_bytes", peak_bytes},
                                   {"process_bytes", process_bytes},
                                   {"peer_process_bytes", peer_process_bytes}})
    if (!std::isnan(value)) row[key] = value;
  if (!peer_forms.is_null()) row["peer_forms"] = peer_forms;
  if (!check.empty())
    row.update({{"peer", peer},
                {"check", check},
                {"difference", difference},
                {"peer_difference", peer_difference},
                {"peer_ms", peer_ms},
                {"ratio", ratio},
                {"ratio_min", ratio_min},
                {"ratio_max", ratio_max}});
  return row;
}

Table bench_table(const std::vector<BenchRow>& rows) {
  std::vector<Column> shown;
  for (const Column& c : kColumns)
    if (std::any_of(rows.begin(), rows.end(), [&](const Row& r) { return c.cell(r) != "-"; })) shown.push_back(c);
  std::vector<std::string> header;
  for (const Column& c : shown) header.push_back(c.title);
  Table table(header);
  for (const Row& r : rows) {
    std::vector<std::string> cells;
    for (const Column& c : shown) cells.push_back(c.cell(r));
    table.add(cells);
  }
  return table;
}

}  // namespace vitrine::apps
