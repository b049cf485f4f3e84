# name, file, sed
f=/tmp/mutv/src/src/engine/soft/translate/$2; cp $f /tmp/mutv/save
sed -i "$3" $f; cmp -s $f /tmp/mutv/save && echo "NOT CHANGED $1"
timeout 300 ninja -C /tmp/mutv/b tools/difftest/difftest 2>&1 | grep -E "error" 
echo "== $1"; timeout -s KILL 100 /tmp/mutv/b/tools/difftest/difftest --count 60000 --seed 3 --mode 64 --block 8 --reports 0 2>&1| tail -1
cp /tmp/mutv/save $f
