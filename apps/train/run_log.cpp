#include "apps/train/run_log.h"

#include <fstream>

#include "apps/plot/curves.h"
#include "core/error.h"
#include "core/files.h"

namespace vitrine::apps {
namespace {

using Json = nlohmann::ordered_json;

/// A figure of a line; NaN where it is null, which is what JSON has for it, or not there.
double figure(const Json& line, const char* key) {
  const auto found = line.find(key);
  return found != line.end() && found->is_number() ? double(*found) : NAN;
}

/// A line of the reference's log.txt: its keys, then those of averaged weights where there are any.
Json reference_line(const Json& line) {
  Json log{{"train_lr", line["lr"]}};
  for (const char* key : {"train_loss", "test_loss", "test_acc1", "test_acc5", "epoch", "n_parameters", "test_loss_ema",
                          "test_acc1_ema", "test_acc5_ema", "test_map", "test_map_ema"})
    if (line.contains(key)) log[key] = line[key];
  return log;
}

}  // namespace

void RunLog::restore(const std::string& folder, int64_t epoch) {
  const std::string file = folder + "/metrics.jsonl";
  lines_.clear();
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    const Json document = Json::parse(line, nullptr, false);
    check<IoError>(document.is_object() && document.contains("epoch") && document["epoch"].is_number_integer(),
                   "{}: line {} is no line of metrics", file, lines_.size() + 1);
    if (document["epoch"] < epoch) lines_.push_back(document);
  }
  check<IoError>(int64_t(lines_.size()) == epoch, "{}: has {} of the {} lines that the checkpoint belongs to", file,
                 lines_.size(), epoch);
}

void RunLog::add(const Json& line) {
  lines_.push_back(line);
  write();
  Scalars scalars;
  for (const char* key : {"train_loss", "test_loss", "test_acc1", "test_acc5", "lr", "images_per_s", "test_loss_ema",
                          "test_acc1_ema", "test_acc5_ema", "test_map", "test_map_ema"})
    if (line.contains(key)) scalars.emplace_back(key, figure(line, key));
  events_.add(line["epoch"], scalars);
}

void RunLog::write() const {
  write_file_atomically(folder_ + "/metrics.jsonl", [&](std::ostream& out) {
    for (const Json& line : lines_) out << line.dump() << "\n";
  });
  write_file_atomically(folder_ + "/log.txt", [&](std::ostream& out) {
    for (const Json& line : lines_) out << reference_line(line).dump() << "\n";
  });
  std::vector<EpochRow> rows;
  for (const Json& line : lines_)
    rows.push_back({line["epoch"], figure(line, "train_loss"), figure(line, "test_loss"), figure(line, "test_acc1"),
                    figure(line, "lr")});
  write_file_atomically(folder_ + "/curves.svg", [&](std::ostream& out) { out << curves_svg(rows, title_); });
}

}  // namespace vitrine::apps
