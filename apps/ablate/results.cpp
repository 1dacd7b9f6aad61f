#include "apps/ablate/results.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "apps/cli.h"
#include "core/files.h"

namespace vitrine::apps {
namespace {

using Json = nlohmann::ordered_json;

/// "79.90", or with a sign "+0.12"; "-" for NaN.
std::string figure(double x, bool with_sign = false, int decimals = 2) {
  if (!std::isfinite(x)) return "-";
  char text[64];
  snprintf(text, sizeof text, with_sign ? "%+.*f" : "%.*f", decimals, x);
  return text;
}

std::string file_in(const std::string& folder) { return folder + "/table.json"; }

/// Runs `read`; what goes wrong in it is a malformed file.
template <class F>
void reading(const std::string& file, F&& read) {
  try {
    read();
  } catch (const Json::exception& e) {
    throw IoError(format("{}: malformed table of an ablation: {}", file, e.what()));
  }
}

}  // namespace

Summary::Summary(const std::vector<double>& values) {
  double sum = 0, squares = 0;
  for (const double v : values) sum += v;
  mean = sum / double(values.size());
  for (const double v : values) squares += (v - mean) * (v - mean);
  deviation = values.size() < 2 ? NAN : std::sqrt(squares / double(values.size() - 1));
}

AblationResults::AblationResults(const AblationTable& table, const TrainConfig& base, int64_t seeds, std::string device,
                                 std::vector<std::string> buckets)
    : table_(table),
      base_(base),
      seeds_(seeds),
      device_(std::move(device)),
      buckets_(std::move(buckets)),
      runs_(table.rows.size()) {}

Json AblationResults::settings() const {
  Json document{{"table", table_.number}, {"seeds", seeds_}, {"device", device_}};
  const Json shared = base_.json();
  for (const auto& [key, value] : shared.items())
    if (key != "rpe" && key != "ape") document[key] = value;
  return document;
}

void AblationResults::restore(const std::string& folder) {
  const std::string file = file_in(folder);
  if (!std::filesystem::exists(file)) return;
  std::ifstream in(file);
  reading(file, [&] {
    const Json document = Json::parse(in), &before = document.at("settings"), &rows = document.at("rows"),
               now = settings();
    if (std::all_of(rows.begin(), rows.end(), [](const Json& row) { return row.at("runs").empty(); })) return;
    for (const auto& [key, value] : now.items())
      check<UsageError>(before.at(key) == value || (key == "seeds" && before.at(key) < value),
                        "ablate: {} was made with {} {}, not {}; give the flags that it was made with, or choose "
                        "another --out",
                        file, flag_of(key), before.at(key).dump(), value.dump());
    check<IoError>(rows.size() == runs_.size(), "{}: has {} rows, but table {} has {}", file, rows.size(),
                   table_.number, runs_.size());
    for (size_t r = 0; r < runs_.size(); ++r) {
      check<IoError>(rows[r].at("rpe") == table_.rows[r].rpe && rows[r].at("ape") == table_.rows[r].ape,
                     "{}: row {} is another than that of table {}", file, r + 1, table_.number);
      for (const Json& run : rows[r].at("runs")) runs_[r].push_back({run.at("top1"), run.at("seconds")});
      check<IoError>(int64_t(runs_[r].size()) <= seeds_, "{}: row {} has {} runs of {} seeds", file, r + 1,
                     runs_[r].size(), seeds_);
    }
  });
}

void AblationResults::save(const std::string& folder) const {
  write_file_atomically(file_in(folder), [&](std::ostream& out) { out << json().dump(1) << "\n"; });
  write_file_atomically(folder + "/table.md", [&](std::ostream& out) { out << markdown(); });
}

std::vector<double> AblationResults::accuracies(size_t r) const {
  std::vector<double> list;
  for (const Run& run : runs_[r]) list.push_back(run.accuracy);
  return list;
}

std::vector<double> AblationResults::differences(size_t r) const {
  std::vector<double> list;
  for (size_t k = 0; k < runs_[r].size() && k < runs_[0].size(); ++k)
    list.push_back(runs_[r][k].accuracy - runs_[0][k].accuracy);
  return list;
}

Json AblationResults::json() const {
  Json rows = Json::array();
  for (size_t r = 0; r < runs_.size(); ++r) {
    const AblationRow& row = table_.rows[r];
    const Summary accuracy(accuracies(r)), difference(differences(r));
    Json runs = Json::array();
    for (size_t k = 0; k < runs_[r].size(); ++k)
      runs.push_back({{"seed", base_.seed + k}, {"top1", runs_[r][k].accuracy}, {"seconds", runs_[r][k].seconds}});
    rows.push_back({{"name", row.name},
                    {"ape", row.ape},
                    {"rpe", row.rpe},
                    {"buckets", buckets_[r]},
                    {"seeds", runs_[r].size()},
                    {"top1_mean", accuracy.mean},
                    {"top1_std", accuracy.deviation},
                    {"difference_mean", difference.mean},
                    {"difference_std", difference.deviation},
                    {"paper_top1", row.paper},
                    {"paper_difference", row.paper - table_.rows[0].paper},
                    {"runs", runs}});
  }
  return {{"title", table_.title}, {"settings", settings()}, {"baseline", table_.rows[0].name}, {"rows", rows}};
}

Table AblationResults::cells() const {
  Table table({"row", "relative", "buckets", "top-1 %", "sd", "seeds", "difference", "its sd", "paper's top-1 %",
               "paper's difference"});
  for (size_t r = 0; r < runs_.size(); ++r) {
    const AblationRow& row = table_.rows[r];
    const Summary accuracy(accuracies(r)), difference(differences(r));
    const bool base = r == 0;
    table.add({row.name, row.rpe, buckets_[r], figure(accuracy.mean), figure(accuracy.deviation),
               std::to_string(runs_[r].size()), base ? "-" : figure(difference.mean, true),
               base ? "-" : figure(difference.deviation), figure(row.paper, false, 1),
               base ? "-" : figure(row.paper - table_.rows[0].paper, true, 1)});
  }
  return table;
}

std::string AblationResults::heading() const {
  return format("Table {} of the iRPE paper in small: {}", table_.number, table_.title);
}

std::string AblationResults::text() const { return heading() + "\n\n" + cells().text(); }

std::string AblationResults::markdown() const {
  std::string flags;
  const Json all = settings(), defaults = TrainConfig().json();
  for (const auto& [key, value] : all.items())
    if (!defaults.contains(key) || value != defaults[key])
      flags += " " + flag_of(key) +
               (value.is_string() ? " " + value.get<std::string>()
                : value == true   ? ""
                                  : " " + value.dump());
  return format(
      "# {}\n\n{}\n"
      "Ours: {} on {}, {} epochs; top-1 test accuracy after the last, mean and sample standard deviation (sd) over "
      "seeds; "
      "the difference to \"{}\" is taken seed by seed. `buckets`: how many of each table's the grid uses. Paper: "
      "DeiT-S "
      "on ImageNet-1k, 300 epochs.{}\n\n"
      "Command: `vitrine ablate{} --out DIR`\n",
      heading(), cells().markdown(), base_.model, base_.data, base_.epochs, table_.rows[0].name,
      table_.note.empty() ? "" : " " + table_.note, flags);
}

}  // namespace vitrine::apps
