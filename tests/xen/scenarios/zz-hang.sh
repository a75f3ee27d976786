# timeout: 8
echo hanging
sleep 100
