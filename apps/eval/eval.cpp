#include "apps/eval/eval.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/classifier/evaluate.h"
#include "apps/classifier/progress.h"
#include "apps/classifier/skipped.h"
#include "apps/classifier/weights.h"

namespace vitrine::apps {

int eval(const EvalFlags& flags) {
  flags.apply();
  const Device device = flags.device();
  check<UsageError>(flags.weights.model.empty() || !flags.data.empty(), "eval: weights alone need --data");
  const LoadedClassifier loaded = flags.load();
  const auto dataset = flags.data.empty() ? loaded.spec.open_test(flags.checkpoint)
                                          : data::open_dataset(flags.data, data::Split::test, loaded.spec.data_seed);
  // Of folders the names alone tell which class is which; weights alone know no names.
  const std::vector<std::string>&names = dataset->labels(), &known = loaded.spec.labels;
  check<ValueError>(dataset->one_size() || loaded.report ||
                        (names.size() <= known.size() && std::equal(names.begin(), names.end(), known.begin())),
                    "{}: its classes are not those that the model was trained on", dataset->description());
  // Weights alone do not know how the images of a data set become numbers; the data set does.
  data::Preprocessing input =
      loaded.report && dataset->one_size() ? dataset->preprocessing() : loaded.spec.preprocessing;
  if (flags.crop > 0 && !dataset->one_size()) input.crop = flags.crop;
  SkippedImages skipped(*dataset);
  Progress progress("eval", "images", dataset->size());
  const Accuracy found = evaluate(*loaded.model, *dataset, input, device, flags.dtype(), flags.batch_size,
                                  flags.workers, [&](int64_t images) {
                                    skipped.tell(&progress);
                                    progress.update(images);
                                    return true;
                                  });
  progress.clear();
  skipped.summary();
  if (flags.json) {
    nlohmann::ordered_json document = {{"top1", found.top1}, {"top5", found.top5},
                                       {"loss", found.loss}, {"images", found.images},
                                       {"crop", input.crop}, {"images_per_s", found.images_per_s}};
    if (found.mean_average_precision) document["map"] = *found.mean_average_precision;
    if (loaded.report) document["weights"] = report_json(*loaded.report);
    print_json(document);
  } else {
    const std::string precision =
        found.mean_average_precision ? format("mAP {} %  ", significant(*found.mean_average_precision, 4)) : "";
    std::cout << format("{}\n{}top-1 {} %  top-5 {} %  loss {}  {} images at crop {}, {} images/s\n",
                        dataset->description(), precision, significant(found.top1, 4), significant(found.top5, 4),
                        significant(found.loss, 4), found.images, input.crop, significant(found.images_per_s));
  }
  return kDone;
}

namespace {

std::function<int()> setup(CLI::App& app) {
  const auto flags = std::make_shared<EvalFlags>();
  flags->add_to(app);
  app.add_option("--data", flags->data, "data whose test split is used (default: what the model was trained on)");
  app.add_option("--batch-size", flags->batch_size, "images at a time")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 16));
  app.add_option("--eval-crop-ratio", flags->crop,
                 "part of the shorter side of a folder's images (default: as trained)")
      ->check(CLI::Range(data::kSmallestCrop, 1.0));
  app.add_option("--workers", flags->workers, "threads that prepare batches")
      ->capture_default_str()
      ->check(CLI::Range(0, 64));
  return [flags] { return eval(*flags); };
}

const RegisterCommand command({"eval", "Accuracy of a checkpoint on a test set", setup});

}  // namespace
}  // namespace vitrine::apps
