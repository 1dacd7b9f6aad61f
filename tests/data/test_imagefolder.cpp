#include <algorithm>
#include <set>

#include "data/datasets/dataset.h"
#include "data/loader.h"
#include "tests/apps/run_program.h"
#include "tests/support/catch.h"

using namespace vitrine;
using namespace vitrine::data;
using testing::ScratchFolder;

namespace {

/// The bytes of a PNG of one colour.
std::string png(int64_t height, int64_t width, uint8_t value) {
  return encode_png({height, width, 3, std::vector<uint8_t>(size_t(3 * height * width), value)});
}

void write(const ScratchFolder& folder, const std::string& name, const std::string& bytes) {
  std::filesystem::create_directories(std::filesystem::path(folder.file(name)).parent_path());
  folder.write(name, bytes);
}

std::string failure(const ScratchFolder& folder, Split split = Split::train) {
  try {
    open_dataset("imagefolder:" + folder.file("d"), split);
  } catch (const IoError& e) {
    return e.what();
  }
  return "no error";
}

/// Images d/train/{a,b}/N.png of 4 to 9 pixels a side, all of value 10 N.
void write_twenty(const ScratchFolder& folder) {
  for (int i = 0; i < 20; ++i) {
    std::string name = std::to_string(i);
    if (i < 10) name.insert(0, "0");
    write(folder, "d/train/" + std::string(i < 10 ? "a/" : "b/") + name + ".png",
          png(4 + i % 6, 4 + i % 5, uint8_t(10 * i)));
  }
}

Preprocessing form(int64_t side) { return {.height = side, .width = side}; }

std::vector<Batch> all_of(const Dataset& data, LoaderOptions options, int64_t epoch = 0) {
  options.preprocessing = form(6);
  std::vector<Batch> out;
  Epoch batches = Loader(data, options).epoch(epoch);
  while (auto batch = batches.next()) out.push_back(std::move(*batch));
  return out;
}

std::vector<float> values(const Tensor& t) {
  if (!t.defined()) return {};
  return {t.data<float>(), t.data<float>() + t.numel()};
}

bool equal(const std::vector<Batch>& a, const std::vector<Batch>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Batch& x, const Batch& y) {
    const auto labels = [](const Batch& batch) {
      const auto* p = batch.targets.data<int64_t>();
      return std::vector<int64_t>(p, p + batch.targets.numel());
    };
    return values(x.images) == values(y.images) && values(x.soft_targets) == values(y.soft_targets) &&
           labels(x) == labels(y);
  });
}

/// The value that all pixels of image i of an unaugmented batch have.
int value_of(const Batch& batch, int64_t i) {
  return int(std::lround(batch.images.data<float>()[i * batch.images.numel() / batch.images.size(0)] * 255));
}

LoaderOptions everything(int workers) {
  LoaderOptions o{.batch_size = 4, .shuffle = true, .drop_last = true, .seed = 7, .workers = workers};
  o.augment.flip = o.augment.resized_crop = true;
  o.augment.policy = RandAugment::parse("rand-m9-mstd0.5-inc1");
  o.augment.interpolation = Interpolation::random;
  o.augment.erasing.probability = 0.5;
  o.mixing = {.mixup = 0.8, .cutmix = 1, .group = 2, .label_smoothing = 0.1, .classes = 2};
  return o;
}

}  // namespace

TEST_CASE("imagefolder: classes and files in the order of their bytes, folders in folders", "[unit][imagefolder]") {
  const ScratchFolder folder("imagefolder");
  const std::vector<std::string> files = {"Z/x.png",     "a/1.PNG",     "a/2.Jpeg",
                                          "a/s-t/0.bmp", "a/s/t/0.png", "\xc3\xa9/i.webp"};
  for (const std::string& file : files) write(folder, "d/train/" + file, png(2, 3, 1));
  for (const char* ignored : {"a/.hidden.png", "a/notes.txt", "a/noending", ".cache/x.png", "README"})
    write(folder, std::string("d/train/") + ignored, "x");
  const auto data = open_dataset("imagefolder:" + folder.file("d"), Split::train);
  CHECK(data->labels() == std::vector<std::string>{"Z", "a", "\xc3\xa9"});
  CHECK(data->size() == 6);
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < 6; ++i) labels.push_back(data->label(i));
  CHECK(labels == std::vector<int64_t>{0, 1, 1, 1, 1, 2});
  CHECK_FALSE(data->one_size());
  CHECK(data->image(0).width == 3);
  CHECK(data->image(2).height == 2);  // a PNG by content, .Jpeg by name
  CHECK(data->description() == "image folder, train: 6 images of 3 classes, from " + folder.file("d/train"));
  CHECK(data->bad_images().empty());
}

TEST_CASE("imagefolder: what is missing is one error that names the folder", "[unit][imagefolder]") {
  const ScratchFolder folder("imagefolder");
  const std::string d = folder.file("d");
  CHECK(failure(folder) == d + ": no such folder");
  std::filesystem::create_directories(d);
  CHECK(failure(folder) ==
        d + "/train: no such folder; images belong in " + d + "/train/CLASS/ and " + d + "/val/CLASS/");
  std::filesystem::create_directories(d + "/train");
  CHECK(failure(folder) == d + "/train: has no folders; images belong in " + d + "/train/CLASS/");
  write(folder, "d/train/a/x.png", png(1, 1, 0));
  write(folder, "d/train/b/x.txt", "no picture");
  CHECK(failure(folder) ==
        d + "/train/b: has no images; add some whose names end in .jpg, .png, .bmp, .ppm or .pgm, or "
            "remove the folder");
  write(folder, "d/train/b/x.png", png(1, 1, 0));
  CHECK(failure(folder) == "no error");
  write(folder, "d/val/a/x.png", png(1, 1, 0));
  CHECK(failure(folder, Split::test) == "no error");  // class b is not validated
  std::filesystem::create_directories(d + "/val/b");
  CHECK(failure(folder, Split::test).starts_with(d + "/val/b: has no images"));
  write(folder, "d/val/b/x.png", png(1, 1, 0));
  CHECK(failure(folder, Split::test) == "no error");
  write(folder, "d/val/c/x.png", png(1, 1, 0));
  CHECK(failure(folder, Split::test) == d + "/train: has no folder for the class 'c' of " + d + "/val");
  std::filesystem::remove_all(d + "/train");
  CHECK(failure(folder, Split::test) == "no error");  // to evaluate, the validation images are enough
  std::filesystem::create_directory_symlink(d + "/val/a", d + "/val/a/round");
  CHECK_THAT(failure(folder, Split::test), testing::Contains("more than 32 folders deep"));
}

TEST_CASE("imagefolder: a class that val lacks keeps its number, and is named", "[unit][imagefolder]") {
  const ScratchFolder folder("imagefolder");
  for (char c = 'a'; c <= 'n'; ++c) write(folder, std::string("d/train/") + c + "/x.png", png(1, 1, 0));
  for (const char* c : {"b", "d", "n"}) write(folder, std::string("d/val/") + c + "/x.png", png(1, 1, 0));
  const auto train = open_dataset("imagefolder:" + folder.file("d"), Split::train);
  const auto val = open_dataset("imagefolder:" + folder.file("d"), Split::test);
  CHECK(val->labels() == train->labels());
  CHECK(val->size() == 3);
  CHECK((val->label(0) == 1 && val->label(1) == 3 && val->label(2) == 13));
  CHECK(train->note().empty());
  CHECK(val->note() == folder.file("d/val") +
                           ": has no folder for 11 of the 14 classes: 'a', 'c', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l' "
                           "and more; their numbers stay, and accuracy is over the others");
  CHECK(val->description() == "image folder, test: 3 images of 3 classes, from " + folder.file("d/val"));
}

TEST_CASE("imagefolder: images of every form and size pass through everything that training does",
          "[unit][imagefolder]") {
  const ScratchFolder folder("imagefolder");
  const std::string fixtures = std::string(VITRINE_SOURCE_DIR) + "/tests/fixtures/image/";
  int64_t images = 0;
  for (const auto& entry : std::filesystem::directory_iterator(fixtures)) {
    const std::string name = entry.path().filename();
    if (name == "expected.json" || name == "make_images.py") continue;
    std::filesystem::create_directories(folder.file("d/train/a"));
    const bool listed =
        !name.ends_with(".gif") && !name.ends_with(".psd");  // by torchvision's endings; content decides
    std::filesystem::copy_file(entry.path(), folder.file("d/train/a/" + name + (listed ? "" : ".png")));
    ++images;
  }
  for (const auto& [height, width] : {std::pair{1, 1}, {1, 2}, {2, 1}, {1, 20000}, {20000, 1}, {3, 5000}})
    write(folder, format("d/train/b/{}x{}.png", height, width), png(height, width, 99)), ++images;
  const auto data = open_dataset("imagefolder:" + folder.file("d"), Split::train);
  REQUIRE(data->size() == images);
  LoaderOptions o = everything(0);
  o.preprocessing = Preprocessing{.height = 48, .width = 48, .crop = 0.875};
  for (int form_of_crop = 0; form_of_crop < 3; ++form_of_crop) {
    o.augment.resized_crop = form_of_crop == 0, o.augment.simple_crop = form_of_crop == 1;
    o.augment.pad_crop = form_of_crop == 2 ? 4 : 0;
    for (int64_t epoch = 0; epoch < 3; ++epoch) {
      Epoch batches = Loader(*data, o).epoch(epoch);
      while (const auto batch = batches.next())
        for (const float v : values(batch->images)) REQUIRE(std::isfinite(v));
    }
  }
  Epoch evaluation = Loader(*data, {.batch_size = 5, .preprocessing = o.preprocessing}).epoch(0);
  int64_t seen = 0;
  while (const auto batch = evaluation.next()) seen += batch->images.size(0);
  CHECK(seen == images);
  CHECK(data->bad_images().empty());
}

TEST_CASE("imagefolder: a bad image is left out, or replaced where batches are full, and named once",
          "[unit][imagefolder][threads]") {
  const ScratchFolder folder("imagefolder");
  write_twenty(folder);
  const std::string whole = png(50, 50, 9);
  const std::vector<std::pair<std::string, std::string>> bad = {{"d/train/a/03.png", "not a picture"},
                                                                {"d/train/b/18.png", whole.substr(0, whole.size() / 2)},
                                                                {"d/train/b/19.png", ""}};
  for (const auto& [name, bytes] : bad) folder.write(name, bytes);
  const auto data = open_dataset("imagefolder:" + folder.file("d"), Split::train);
  for (const int workers : {0, 2}) {
    const auto left_out = all_of(*data, {.batch_size = 6, .workers = workers});
    REQUIRE(left_out.size() == 4);
    CHECK(left_out[0].images.shape() == Shape{5, 3, 6, 6});
    CHECK(left_out[3].images.shape() == Shape{0, 3, 6, 6});
    CHECK(value_of(left_out[0], 3) == 40);
    CHECK(left_out[1].targets.data<int64_t>()[4] == 1);
    const auto replaced = all_of(*data, {.batch_size = 5, .drop_last = true, .workers = workers});
    REQUIRE(replaced.size() == 4);
    for (const Batch& batch : replaced) CHECK(batch.images.size(0) == 5);
    CHECK(value_of(replaced[0], 3) == 40);
    CHECK(value_of(replaced[3], 4) == 0);  // after the last comes the first, with its own label
    CHECK(replaced[3].targets.data<int64_t>()[4] == 0);
  }
  const std::vector<std::string> named = data->bad_images();
  REQUIRE(named.size() == 3);
  for (const auto& [name, bytes] : bad)
    CHECK(std::any_of(named.begin(), named.end(), [&, file = folder.file(name)](const std::string& line) {
      return line.starts_with(file + ": ");
    }));
  CHECK(data->bad_images(2).size() == 1);
  CHECK(data->bad_images(3).empty());
}

TEST_CASE("imagefolder: a folder of bad images ends, and says so", "[unit][imagefolder]") {
  const ScratchFolder folder("imagefolder");
  write(folder, "d/train/a/1.png", "x");
  write(folder, "d/train/a/2.png", "y");
  const auto data = open_dataset("imagefolder:" + folder.file("d"), Split::train);
  CHECK_THROWS_WITH(all_of(*data, {.batch_size = 2, .drop_last = true}),
                    data->description() + ": none of the images can be read");
  CHECK(all_of(*data, {.batch_size = 2})[0].images.size(0) == 0);
}

TEST_CASE("loader: with everything random on, batches depend on seed and epoch alone", "[unit][imagefolder][threads]") {
  const ScratchFolder folder("imagefolder");
  write_twenty(folder);
  folder.write("d/train/a/05.png", "bad");
  const auto data = open_dataset("imagefolder:" + folder.file("d"), Split::train);
  const auto expected = all_of(*data, everything(0), 3);
  REQUIRE(expected.size() == 5);
  CHECK(expected[0].soft_targets.shape() == Shape{4, 2});
  for (const int workers : {1, 3}) CHECK(equal(expected, all_of(*data, everything(workers), 3)));
  CHECK_FALSE(equal(expected, all_of(*data, everything(1), 4)));
  LoaderOptions other = everything(1);
  other.seed = 8;
  CHECK_FALSE(equal(expected, all_of(*data, other, 3)));
  // Groups draw for themselves: the l of a pair of the first group is another than that of the second.
  const std::vector<float> soft = values(expected[0].soft_targets);
  CHECK(std::abs(soft[0] + soft[1] - 1) < 1e-6F);
  // Begun in its middle.
  LoaderOptions options = everything(2);
  options.preprocessing = form(6);
  Epoch tail = Loader(*data, options).epoch(3, 3);
  CHECK(values(tail.next()->images) == values(expected[3].images));
}

TEST_CASE("loader: the copies of an image in one epoch are augmented differently", "[unit][imagefolder]") {
  const auto data = open_dataset("shapes", Split::test);  // 2000 images: 1792 places
  LoaderOptions o{.batch_size = 64, .shuffle = true, .drop_last = true, .repeats = 3};
  o.augment.pad_crop = 4;
  const Loader loader(*data, o);
  CHECK(loader.batches() == 28);
  const Batch batch = *loader.epoch(0).next();
  const int64_t first = torch_permutation(2000, 0)[0];
  CHECK(batch.targets.data<int64_t>()[0] == data->label(first));
  const std::vector<float> x = values(batch.images);
  std::set<std::vector<float>> copies;
  for (size_t i = 0; i < 3; ++i)
    copies.emplace(x.begin() + std::ptrdiff_t(i * 3072), x.begin() + std::ptrdiff_t((i + 1) * 3072));
  CHECK(copies.size() == 3);
}

TEST_CASE("loader: options that do not go together", "[unit][imagefolder]") {
  const ScratchFolder folder("imagefolder");
  write_twenty(folder);
  const auto data = open_dataset("imagefolder:" + folder.file("d"), Split::train);
  CHECK_THROWS_WITH(Loader(*data, {}),
                    "loader: " + data->description() + ": its images differ in size; the size of the input is missing");
  LoaderOptions o = everything(0);
  o.preprocessing = form(6);
  CHECK_NOTHROW(Loader(*data, o));
  o.batch_size = 5;
  CHECK_THROWS_AS(Loader(*data, o), ValueError);
  o.batch_size = 6, o.drop_last = false;
  CHECK_THROWS_AS(Loader(*data, o), ValueError);
  o.drop_last = true, o.mixing.classes = 1;
  CHECK_THROWS_AS(Loader(*data, o), ValueError);
  o.mixing.classes = 2, o.mixing.group = 4, o.repeats = 3;
  CHECK_THROWS_WITH(Loader(*data, o),
                    "loader: batches of 6 images cannot be dealt to processes of 4; choose another mixing.group");
}
