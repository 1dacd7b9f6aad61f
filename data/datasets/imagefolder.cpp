#include <algorithm>
#include <filesystem>

#include "core/error.h"
#include "data/datasets/formats.h"
#include "data/datasets/picture_files.h"

namespace vitrine::data {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostImages = 100'000'000;
constexpr int kDeepest = 32;  // folders in folders; a link may lead round in a circle

/// The names in a folder that do not begin with a dot, sorted by their bytes: folders, or everything else.
std::vector<std::string> names_in(const fs::path& folder, bool folders) {
  std::vector<std::string> names;
  try {
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      std::string name = entry.path().filename().string();
      if (name[0] != '.' && entry.is_directory() == folders) names.push_back(std::move(name));
    }
  } catch (const fs::filesystem_error& e) {
    throw IoError(format("{}: {}", folder.string(), e.code().message()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool is_picture(const std::string& name) {
  static const std::vector<std::string> known = {".jpg", ".jpeg", ".png",  ".bmp", ".ppm",
                                                 ".pgm", ".tif",  ".tiff", ".webp"};
  std::string ending = fs::path(name).extension().string();
  for (char& c : ending) c = char(std::tolower(static_cast<unsigned char>(c)));
  return std::find(known.begin(), known.end(), ending) != known.end();
}

/// Appends {folder, file} of every picture below.
void walk(const fs::path& folder, int depth, std::vector<std::pair<std::string, std::string>>& out) {
  check<IoError>(depth <= kDeepest, "{}: more than {} folders deep", folder.string(), kDeepest);
  for (std::string& name : names_in(folder, false))
    if (is_picture(name)) out.emplace_back(folder.string(), std::move(name));
  check<IoError>(out.size() <= kMostImages, "{}: more than {} images", folder.string(), kMostImages);
  for (const std::string& name : names_in(folder, true)) walk(folder / name, depth + 1, out);
}

std::vector<std::string> classes_of(const fs::path& folder) {
  std::vector<std::string> classes = names_in(folder, true);
  check<IoError>(!classes.empty(), "{}: has no folders; images belong in {}/CLASS/", folder.string(), folder.string());
  return classes;
}

/// Throws unless the folder has exactly the classes of `other`.
void check_classes(const fs::path& folder, const std::vector<std::string>& classes, const fs::path& other,
                   const std::vector<std::string>& expected) {
  const auto lacks = [](const fs::path& where, const std::vector<std::string>& has, const fs::path& model,
                        const std::vector<std::string>& needed) {
    for (const std::string& name : needed)
      check<IoError>(std::binary_search(has.begin(), has.end(), name), "{}: has no folder for the class '{}' of {}",
                     where.string(), name, model.string());
  };
  lacks(folder, classes, other, expected);
  lacks(other, expected, folder, classes);
}

class ImageFolder final : public Dataset {
 public:
  ImageFolder(const fs::path& root, std::vector<std::string> classes, Split split)
      : root_(root.string()), classes_(std::move(classes)) {
    for (size_t c = 0; c < classes_.size(); ++c) {
      std::vector<std::pair<std::string, std::string>> found;
      walk(root / classes_[c], 0, found);
      check<IoError>(!found.empty(), "{}: has no images", (root / classes_[c]).string());
      std::sort(found.begin(), found.end());  // "a", "a-b", "a/b": as strings, not as paths
      for (const auto& [folder, name] : found) files_.push_back({int32_t(c), folder.substr(root_.size()) + "/" + name});
    }
    description_ =
        format("image folder, {}: {} images of {} classes, from {}", split, files_.size(), classes_.size(), root_);
  }

  int64_t size() const override { return int64_t(files_.size()); }
  const std::vector<std::string>& labels() const override { return classes_; }
  const Preprocessing& preprocessing() const override { return preprocessing_; }
  int64_t label(int64_t i) const override { return files_[size_t(i)].label; }
  std::string description() const override { return description_; }

  Image image(int64_t i) const override { return pictures_.read(i, root_ + files_[size_t(i)].name); }
  std::vector<std::string> bad_images(size_t told) const override { return pictures_.bad_images(told); }

 private:
  struct File {
    int32_t label;
    std::string name;  // behind root_, with its slash
  };
  const std::string root_;
  const std::vector<std::string> classes_;
  std::vector<File> files_;
  std::string description_;
  const Preprocessing preprocessing_ = imagenet_preprocessing();
  const PictureFiles pictures_;
};

}  // namespace

std::unique_ptr<Dataset> open_imagefolder(const std::string& folder, Split split) {
  const fs::path root = fs::path(folder), train = root / "train", val = root / "val";
  const fs::path& wanted = split == Split::train ? train : val;
  std::error_code error;
  check<IoError>(fs::is_directory(root, error), "{}: no such folder", root.string());
  check<IoError>(fs::is_directory(wanted, error),
                 "{}: no such folder; images belong in {}/train/CLASS/ and {}/val/CLASS/", wanted.string(),
                 root.string(), root.string());
  std::vector<std::string> classes = classes_of(wanted);
  if (split == Split::test && fs::is_directory(train, error)) check_classes(val, classes, train, classes_of(train));
  return std::make_unique<ImageFolder>(wanted, std::move(classes), split);
}

}  // namespace vitrine::data
