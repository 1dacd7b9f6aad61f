#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>

#include "apps/classifier/weights.h"
#include "apps/eval/eval.h"
#include "apps/train/config_file.h"
#include "apps/train/dry_run.h"
#include "apps/train/interrupt.h"
#include "apps/train/official.h"
#include "apps/train/recipes.h"

namespace vitrine::apps {
namespace {

using Json = nlohmann::ordered_json;

struct Flags : CommonFlags {
  TrainConfig config;
  TrainRun run;
  std::string config_file, recipe, resumed;
  bool resume = false, eval = false;
  std::function<std::vector<std::string>()> given;
  std::function<std::vector<std::string>(TrainConfig&)> official;
  std::vector<std::string> decided;  ///< keys of TrainConfig::json() that flags or a file gave
};

/// Checks the flags given against the run that is resumed: what determines its result cannot change on the way.
void check_same(const Flags& flags, const TrainConfig& stored) {
  const Json before = stored.json(), now = flags.config.json();
  for (const std::string& key : flags.decided) {
    check<UsageError>(before[key] == now[key],
                      "train: {} has {} {}, not {}; leave the flag out, or choose another --out",
                      checkpoint_of(flags.run.out), flag_of(key), before[key].dump(), now[key].dump());
  }
}

std::string folder_of(const std::string& file) {
  return std::filesystem::weakly_canonical(std::filesystem::absolute(file)).parent_path();
}

/// What the run goes on from: the run in --out, or the file of --resume; nothing for a new run. One that goes on in
/// another folder may change what flags are given for.
std::optional<StoredRun> open_run(Flags& flags) {
  TrainRun& run = flags.run;
  if (run.out.empty() && !flags.resumed.empty()) run.out = folder_of(flags.resumed);
  check<UsageError>(!run.out.empty() || run.dry, "train: --out is missing, the folder of the run");
  const bool there = std::filesystem::exists(checkpoint_of(run.out));
  const bool own = flags.resumed.empty() || folder_of(flags.resumed) == folder_of(checkpoint_of(run.out));
  check<UsageError>(!there || (flags.resume && own) || run.dry,
                    "train: {} holds a run already; add --resume to go on with it, or choose another --out", run.out);
  if (flags.resumed.empty() && !(there && flags.resume)) {
    if (flags.resume) std::cerr << format("{}: nothing to resume; starting anew\n", run.out);
    return {};
  }
  StoredRun stored = read_run(flags.resumed.empty() ? checkpoint_of(run.out) : flags.resumed);
  if (own) {
    check_same(flags, stored.config);
  } else {
    Json merged = stored.config.json();
    for (const std::string& key : flags.decided) merged[key] = flags.config.json()[key];
    stored.config = TrainConfig::from_json(merged, stored.file);
  }
  return stored;
}

/// Of a run that goes on as it was stored, a setting that makes no sense is a fault of the file, and not of flags.
Trainer make_trainer(const Flags& flags, const StoredRun* stored) {
  const auto fault = [&](const Error& e) {
    const std::string what = e.what();
    return IoError(what.starts_with(stored->file) ? what : format("{}: {}", stored->file, what));
  };
  const bool as_stored =
      stored && (flags.decided.empty() || folder_of(stored->file) == folder_of(checkpoint_of(flags.run.out)));
  try {
    return Trainer(stored ? stored->config : flags.config, flags.run, stored);
  } catch (const UsageError& e) {
    if (as_stored) throw fault(e);
    throw;
  } catch (const ValueError& e) {
    if (as_stored) throw fault(e);
    throw;
  }
}

/// --eval of the reference's program: what `vitrine eval` does.
int evaluate_only(const Flags& flags) {
  const TrainConfig& config = flags.config;
  const auto said = [&](const char* key) {
    return std::find(flags.decided.begin(), flags.decided.end(), key) != flags.decided.end();
  };
  EvalFlags eval_flags;
  static_cast<CommonFlags&>(eval_flags) = flags;
  eval_flags.checkpoint = flags.resumed.empty() ? config.finetune : flags.resumed;
  check<UsageError>(!eval_flags.checkpoint.empty(), "train: --eval needs --resume FILE");
  if (said("model")) eval_flags.weights.model = config.model;
  if (said("rpe")) eval_flags.weights.rpe = config.rpe;
  if (said("ape")) eval_flags.weights.ape = config.ape;
  if (said("image_size")) eval_flags.weights.image_size = config.image_size;
  if (said("data")) eval_flags.data = config.data;
  if (said("eval_crop_ratio")) eval_flags.crop = config.eval_crop_ratio;
  eval_flags.batch_size = config.batch_size;
  eval_flags.workers = flags.run.workers;
  return eval(eval_flags);
}

int dry_run(const Flags& flags, Trainer& trainer) {
  const Json found = trainer.estimate();
  if (flags.json) {
    print_json(found);
  } else {
    std::cout << estimate_text(found);
  }
  return kDone;
}

int train(CLI::App& app, Flags& flags) {
  if (!flags.config_file.empty()) apply_config_file(app, flags.config_file);
  flags.apply();
  flags.config.seed = flags.seed;
  flags.config.precision = flags.precision;
  flags.decided = flags.given();
  for (const std::string& key : apply_recipe(flags.recipe, flags.config, flags.decided)) flags.decided.push_back(key);
  for (const std::string& key : flags.official(flags.config)) flags.decided.push_back(key);
  flags.config.check_ranges();
  if (flags.eval) return evaluate_only(flags);
  flags.run.device = flags.device();
  std::optional<StoredRun> stored = open_run(flags);
  const std::atomic<bool>& stop = stop_on_interrupt();
  Trainer trainer = make_trainer(flags, stored ? &*stored : nullptr);
  stored.reset();  // as large as the model and its optimizer
  if (flags.run.dry) return dry_run(flags, trainer);
  const bool done = trainer.run(stop);
  if (!done) {
    std::cerr << format("stopped; go on with: vitrine train --resume --out {}\n", flags.run.out);
    return kInterrupted;
  }
  if (flags.json) {
    Json document = trainer.metrics().back();
    if (trainer.pretrained()) document["finetune"] = report_json(*trainer.pretrained());
    print_json(document);
  } else {
    std::cout << format("done: {}/checkpoint.safetensors, best.safetensors, metrics.jsonl, curves.svg\n",
                        flags.run.out);
  }
  return kDone;
}

std::function<int()> setup(CLI::App& app) {
  const auto flags = std::make_shared<Flags>();
  flags->add_to(app);
  add_config_flag(app, flags->config_file);
  add_recipe_flag(app, flags->recipe);
  flags->given = add_train_flags(app, flags->config);
  app.add_option("--out,--output-dir,--output_dir", flags->run.out, "folder of the run");
  CLI::Option* resume = app.add_option("--resume", flags->resumed,
                                       "go on with the run in --out, bit for bit; with a FILE, from this checkpoint of "
                                       "a run, in another --out with other flags if so wanted")
                            ->expected(0, 1)
                            ->type_name("[FILE]");
  app.add_flag("--dry-run", flags->run.dry, "write nothing; tell what the run would take in time, memory and disk");
  app.add_flag("--eval", flags->eval, "evaluate the file of --resume only, as vitrine eval does");
  add_run_flags(app, flags->run);
  flags->official = add_official_flags(app);
  return [flags, resume, &app] {
    flags->resume = resume->count() > 0;
    return train(app, *flags);
  };
}

const RegisterCommand command({"train", "Trains a classifier; a run that was killed goes on bit for bit", setup});

}  // namespace
}  // namespace vitrine::apps
