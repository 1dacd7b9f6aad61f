#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>

#include "apps/ablate/results.h"
#include "apps/classifier/progress.h"
#include "apps/rpe/maps.h"
#include "apps/train/input.h"
#include "apps/train/interrupt.h"
#include "apps/train/trainer.h"

namespace vitrine::apps {
namespace {

struct Flags : CommonFlags {
  int table = 0;
  int64_t seeds = 3;
  TrainConfig config;
  TrainRun run;
  std::function<std::vector<std::string>()> given;
};

/// "50 of 50"; "14 of 82 + 14 of 82" of Cross
std::string buckets_text(const ops::RpeConfig& rpe, const nn::TokenGrid& grid) {
  std::string text;
  for (const ops::RelposIndex& index : ops::rpe_indices(rpe, grid.height, grid.width, grid.skip, Device::cpu()))
    text += format("{}{} of {}", text.empty() ? "" : " + ", used_buckets(index), index.buckets);
  return text;
}

/// The buckets that each row uses. Makes every row's model: what does not fit should be known before hours of training.
std::vector<std::string> buckets_of(const AblationTable& table, const TrainConfig& config) {
  const auto data = data::open_dataset(config.data, data::Split::test, config.seed);
  std::vector<std::string> list;
  for (const AblationRow& row : table.rows) {
    Generator unused;
    const auto model =
        models::make_classifier({.rng = &unused}, config.model,
                                {.image_size = config.image_size ? config.image_size : input_of(config, *data).height,
                                 .rpe = row.rpe,
                                 .ape = models::parse_ape(row.ape)});
    const std::optional<ops::RpeConfig> rpe = ops::parse_rpe(row.rpe);
    list.push_back(rpe ? buckets_text(*rpe, model->grid()) : "");
  }
  return list;
}

class Ablation {
 public:
  explicit Ablation(const Flags& flags)
      : flags_(flags),
        table_(ablation_table(flags.table)),
        results_(table_, flags.config, flags.seeds, to_string(flags.run.device), buckets_of(table_, flags.config)) {
    results_.restore(flags.run.out);
  }

  /// Trains what is left, all rows of one seed before the next. Returns whether it reached the end.
  bool run(const std::atomic<bool>& stop) {
    make_folder(flags_.run.out);
    results_.save(flags_.run.out);  // a folder that cannot be written to should be known before the first run is over
    for (int64_t k = 0; k < flags_.seeds; ++k)
      for (size_t r = 0; r < table_.rows.size(); ++r)
        if (k == int64_t(results_.runs(r).size()) && !train_row(r, k, stop)) return false;
    return true;
  }
  const AblationResults& results() const { return results_; }

 private:
  bool train_row(size_t r, int64_t k, const std::atomic<bool>& stop) {
    const AblationRow& row = table_.rows[r];
    TrainConfig config = flags_.config;
    config.ape = row.ape, config.rpe = row.rpe, config.seed += uint64_t(k);
    TrainRun run = flags_.run;
    run.out = format("{}/row{}-seed{}", flags_.run.out, r + 1, config.seed);
    std::cerr << progress_text(r, config.seed);
    std::optional<StoredRun> stored = stored_run(run.out);
    check<UsageError>(!stored || stored->config.json() == config.json(),
                      "ablate: {} holds a run with other flags; choose another --out", run.out);
    Trainer trainer(config, run, stored ? &*stored : nullptr);
    stored.reset();
    if (!trainer.run(stop)) return false;
    double seconds = 0;
    for (const auto& epoch : trainer.metrics()) seconds += double(epoch["seconds"]);
    results_.add(r, {trainer.metrics().back()["test_acc1"], seconds});
    results_.save(flags_.run.out);
    return true;
  }

  /// "run 3 of 27: Euclidean, contextual (row 3 of 9), seed 0; about 2 h 10 min left"
  std::string progress_text(size_t r, uint64_t seed) const {
    const int64_t rows = int64_t(table_.rows.size()), runs = rows * flags_.seeds;
    int64_t done = 0;
    double seconds = 0;
    for (size_t i = 0; i < table_.rows.size(); ++i)
      for (const AblationResults::Run& run : results_.runs(i)) ++done, seconds += run.seconds;
    const std::string left =
        done ? format("; about {} left", duration_text(seconds / double(done) * double(runs - done))) : "";
    return format("\nrun {} of {}: {} (row {} of {}), seed {}{}\n", done + 1, runs, table_.rows[r].name, r + 1, rows,
                  seed, left);
  }

  const Flags& flags_;
  const AblationTable& table_;
  AblationResults results_;
};

int ablate(Flags& flags) {
  flags.apply();
  flags.config.seed = flags.seed;
  flags.config.precision = flags.precision;
  flags.config.check_ranges();
  check<UsageError>(flags.seeds >= 1 && flags.seeds <= 1000, "ablate: --seeds must be between 1 and 1000, got {}",
                    flags.seeds);
  for (const std::string& key : flags.given())
    check<UsageError>(key != "rpe" && key != "ape", "ablate: {} is what the rows of the table differ in; leave it out",
                      flag_of(key));
  flags.run.device = flags.device();
  Ablation ablation(flags);
  const bool done = ablation.run(stop_on_interrupt());
  if (!done) {
    std::cerr << format("stopped; the same command goes on with {}\n", flags.run.out);
    return kInterrupted;
  }
  if (flags.json) {
    print_json(ablation.results().json());
  } else {
    std::cout << ablation.results().text() << format("\n{}/table.md, table.json\n", flags.run.out);
  }
  return kDone;
}

std::function<int()> setup(CLI::App& app) {
  const auto flags = std::make_shared<Flags>();
  flags->add_to(app);
  app.add_option("--table", flags->table,
                 "of the iRPE paper; 1: methods, 2: sharing over heads, 3: index function, 4: components")
      ->required();
  app.add_option("--seeds", flags->seeds,
                 "runs of each row, with the seeds --seed, --seed + 1, ...; may be raised later")
      ->capture_default_str();
  flags->given = add_train_flags(app, flags->config);
  app.add_option("--out", flags->run.out, "folder of the table and its runs; an interrupted command goes on there")
      ->required();
  add_run_flags(app, flags->run);
  return [flags] { return ablate(*flags); };
}

const RegisterCommand command({"ablate", "Trains the rows of a table of the iRPE paper in small", setup});

}  // namespace
}  // namespace vitrine::apps
