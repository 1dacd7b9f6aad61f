#pragma once
#include <string>

#include "data/datasets/dataset.h"

namespace vitrine::data {

/// What idx files do not say about themselves.
struct IdxDescription {
  std::string name;
  std::vector<std::string> labels;
  std::array<double, 3> mean, std;
};

/// Images and labels in the idx format of MNIST: DIR holds {train,t10k}-{images-idx3,labels-idx1}-ubyte, each with or
/// without .gz, also with a dot before "idx". Labels are read first.
/// @param remedy what to do if a file is missing, for the message
/// @throws IoError naming the file
std::unique_ptr<Dataset> open_idx(const IdxDescription& description, const std::string& folder, Split split,
                                  const std::string& remedy = "");

/// CIFAR-10, binary version: data_batch_{1..5}.bin and test_batch.bin in DIR or in DIR/cifar-10-batches-bin; each image
/// is its label and three planes of 32 x 32. @throws IoError naming the file
std::unique_ptr<Dataset> open_cifar10(const std::string& folder, Split split);

enum class CifarLabels { fine, coarse };
/// CIFAR-100, binary version: train.bin and test.bin in DIR or in DIR/cifar-100-binary; each image is its coarse label,
/// one of 20, its fine one, of 100, and three planes of 32 x 32. The names of the classes come from
/// {fine,coarse}_label_names.txt beside them. @throws IoError naming the file
std::unique_ptr<Dataset> open_cifar100(const std::string& folder, Split split, CifarLabels labels = CifarLabels::fine);

/// A folder of folders: DIR/train/CLASS/* and DIR/val/CLASS/*, walked recursively. Classes are the folders of DIR/train
/// (of DIR/val, where that stands alone) in the order of their bytes; images those files, sorted by folder and name,
/// whose names end as pictures do (jpg jpeg png bmp ppm pgm tif tiff webp, in any case). Names that begin with a dot
/// are ignored. What a file holds is not looked at before it is wanted; Dataset::image then throws BadImage for a
/// damaged file and for formats that decode_image does not read.
/// A class that DIR/val lacks keeps its number; Dataset::note names it.
/// @throws IoError naming the folder: without classes, a class folder without images, a class of DIR/val that DIR/train
///         lacks, more than 100 million images
std::unique_ptr<Dataset> open_imagefolder(const std::string& folder, Split split);

/// Images with any number of classes each, listed in DIR/train.csv and DIR/val.csv: a line for each, its path within
/// DIR and its classes, with commas between them:
///
///     pictures/0001.jpg,cat,dog
///     "pictures/a, b.jpg",cat
///     pictures/0003.jpg
///
/// A field that holds a comma or a quote stands in quotes, a quote in it twice. Empty lines and what begins with # are
/// passed over. Classes are the lines of DIR/classes.txt or, where there is none, all that occur in DIR/train.csv (in
/// DIR/val.csv, where that stands alone) in the order of their bytes. Images are read when they are wanted, as those of
/// open_imagefolder.
/// @throws IoError naming file and line: a list that is missing, empty or malformed, a path that leaves DIR, an image
///         twice, a class that is not among the classes
std::unique_ptr<Dataset> open_multilabel(const std::string& folder, Split split);

/// Drawn shapes, 10,000 to train with and 2,000 to test: image i has class i % 10, and a place, size, angle, colours
/// and noise that depend on (seed, split, i) alone. Integer arithmetic throughout: equal bytes on every machine.
std::unique_ptr<Dataset> make_shapes(Split split, uint64_t seed);

/// How DeiT's program shows pictures to a model: mean and deviation of ImageNet, a size that the model decides.
Preprocessing imagenet_preprocessing();

/// Images that all have one size, as if each had a size of its own: cropped and resized to what a model takes, as
/// DeiT's program does with CIFAR. What it says of them is imagenet_preprocessing().
std::unique_ptr<Dataset> resized(std::unique_ptr<Dataset> base);

/// Images in memory.
struct StoredImages {
  std::string description;
  std::vector<std::string> labels;
  Preprocessing preprocessing;
  std::vector<uint8_t> classes;  ///< one per image
  std::vector<uint8_t> bytes;    ///< [images, 1 if grey else 3, height, width]
};
/// They as a dataset, in the order given.
std::unique_ptr<Dataset> store(StoredImages images);

}  // namespace vitrine::data
